"""Runs that take a second."""

from __future__ import annotations

from pathlib import Path

from finetune.dataset.opening import open_dataset
from finetune.job.recipe import Recipe
from finetune.job.run import Outcome, finetune
from finetune.training.settings import Settings
from tests.finetune.brief import Blank

QUICK = Settings(epochs=6, block_epochs=2, learning_rate=0.05, block_learning_rate=0.01)


def run(source: Path, out: Path, model: Path, **options: object) -> Outcome:
    """Fine-tune a head, quickly; `options` are settings of the recipe, and whatever else `finetune` takes."""
    settings: dict[str, object] = {"method": "head", "views": 1, "training": QUICK, **options}
    others = {
        name: settings.pop(name) for name in ("resume", "unknown", "previous", "observer") if name in settings
    }
    recipe = Recipe(model=str(model), **settings)  # type: ignore[arg-type]
    return finetune(open_dataset(source, recipe.task), recipe, out, device="cpu", threads=1, **others)  # type: ignore[arg-type]


class Stopping(Blank):
    """An observer that ends the run at the beginning of a stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def begin(self, stage: str, total: int | None = None) -> None:
        if stage == self.stage:
            raise ZeroDivisionError

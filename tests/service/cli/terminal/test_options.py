"""Options that are made of settings: what help says of them is what the code does, and one sentence refuses."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import click
import pytest

from finetune import FineTuner
from finetune.job.recipe import Recipe
from finetune.training.settings import Settings
from models.config import RuntimeConfig
from models.errors import InputError
from models.features import FeatureOptions
from models.importing import ImportOptions
from models.settings import settings_of, updated
from service.cli.finetune.command import command as finetune_command
from service.config import ServiceConfig
from service.front.limits import Limits
from tests.service.running import Run

KINDS: tuple[type, ...] = (
    Recipe, Settings, RuntimeConfig, FeatureOptions, ImportOptions, ServiceConfig, Limits,
)  # fmt: skip
# Commands, and whose settings their options are.
COMMANDS: list[tuple[tuple[str, ...], str, tuple[type, ...]]] = [
    (("finetune",), "finetune.command", (Recipe, RuntimeConfig)),
    (("features",), "features.command", (FeatureOptions, RuntimeConfig)),
    (("models", "import"), "models.importing", (ImportOptions,)),
    (("serve",), "serve.command", (ServiceConfig, Limits)),
    (("dataset", "inspect"), "dataset.inspect", (RuntimeConfig,)),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_help(kind: Any) -> None:
    for field in dataclasses.fields(kind):
        assert field.metadata["setting"].help.endswith((".", "...")), field.name
        assert f"`{field.name}`" in (kind.__doc__ or "") or dataclasses.is_dataclass(
            getattr(kind(), field.name)
        )
    assert "MISSING" not in (kind.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_is_in_range(kind: Any) -> None:
    for name, known in settings_of(kind).items():
        assert known.checked(known.default) == known.default, name


@pytest.mark.parametrize(("words", "module", "kinds"), COMMANDS)
def test_help_tells_the_defaults_of_the_code(
    graft: Run, words: tuple[str, ...], module: str, kinds: tuple[type, ...]
) -> None:
    shown = "".join(graft(*words, "--help").stdout.split())
    parameters = importlib.import_module(f"service.cli.{module}").command.params
    options = {p.name: p for p in parameters if isinstance(p, click.Option)}
    settings = {name: known for kind in kinds for name, known in settings_of(kind).items() if name in options}
    assert settings
    for name, known in settings.items():
        assert "".join(known.described.split()) in shown
        assert options[name].default == known.default
        if known.default and known.kind in (int, float, str):
            value = f"{known.default:g}" if known.kind is float else known.default
            assert f"[default:{value}" in shown


def test_all_settings_of_fine_tuning_are_options() -> None:
    assert settings_of(Recipe).keys() <= {parameter.name for parameter in finetune_command.params}
    assert settings_of(Settings).keys() <= settings_of(Recipe).keys()


def test_help_tells_what_none_stands_for() -> None:
    known = settings_of(Recipe)
    assert known["weight_decay"].unset == "1 with adamw, else 0.01"
    assert (Settings().decay, Settings(optimizer="sgd").decay) == (1.0, 0.01)
    assert known["views"].unset == "1; blocks: 4"
    assert [Recipe(method=m).view_count for m in ("head", "blocks", "sklearn")] == [1, 4, 1]  # type: ignore[arg-type]
    assert known["block_learning_rate"].unset == "0.0003, 0.001, 0.003, by a short trial"
    assert known["classifier"].unset == "logistic; of a regression ridge"
    assert [Recipe(task=t).classifiers[0] for t in ("classification", "regression")] == ["logistic", "ridge"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("views", 65, "views is 65; expected a whole number from 1 to 64."),
        ("val", 0, "val is 0; expected a number above 0 to below 1."),
        ("keep", 1.5, "keep is 1.5; expected a number from 0.5 to below 1."),
        ("method", "magic", "method is 'magic'; expected one of sklearn, head, blocks."),
        ("epochs", 0, "epochs is 0; expected a whole number from 1."),
        ("learning_rate", float("nan"), "learning_rate is nan; expected a number above 0."),
        ("optimizer", "magic", "optimizer is 'magic'; expected one of sgd, momentum, "),
        ("hidden", (64, 0), "hidden is (64, 0); expected whole numbers from 1, with commas between them."),
    ],
)
def test_one_sentence_refuses_everywhere(
    graft: Run, tmp_path: Path, name: str, value: Any, sentence: str
) -> None:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    result = graft("finetune", tmp_path, f"--{name.replace('_', '-')}", text)
    assert result.exit_code == 2
    assert sentence in result.stderr
    inner = name in settings_of(Settings)
    for attempt in (
        lambda: updated(Recipe(), {name: value}),
        lambda: (Settings if inner else Recipe)(**{name: value}),
        lambda: FineTuner(**{"training": {name: value}} if inner else {name: value}).fit([], []),
    ):
        with pytest.raises(InputError) as refused:
            attempt()
        assert str(refused.value).startswith(sentence)


def test_options_reach_the_recipe(graft: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipes: list[Recipe] = []

    def stop(dataset: object, recipe: Recipe, *_: object, **__: object) -> None:
        recipes.append(recipe)
        raise InputError("enough.")

    monkeypatch.setattr("finetune.job.run.finetune", stop)
    monkeypatch.setattr("finetune.dataset.opening.open_dataset", lambda *_, **__: None)
    graft("finetune", tmp_path, "--no-flip", "--seed", 4, "--hidden", "64,32", "--warmup", 0, "--quantize")
    graft("finetune", tmp_path)
    assert recipes == [
        Recipe(flip=False, quantize=True, seed=4, training=Settings(seed=4, hidden=(64, 32), warmup=0.0)),
        Recipe(),
    ]


def test_only_what_was_given_is_refused_by_scikit_learn(graft: Run, tmp_path: Path) -> None:
    result = graft(
        "finetune", tmp_path, "--method", "sklearn", "--epochs", 50, "--rate-factor", 0.1, "--seed", 2
    )
    assert "Error: --epochs, --rate-factor: for --method head or blocks" in result.stderr


def test_choices_are_completed() -> None:
    (option,) = (p for p in finetune_command.params if p.name == "schedule")
    ctx = click.Context(finetune_command)
    assert [item.value for item in option.shell_complete(ctx, "co")] == ["cosine", "constant"]

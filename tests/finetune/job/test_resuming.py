"""The folder of a run: begun anew, gone on with or kept, and never that of something else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.job.folder import RunFolder
from models.errors import OutputError
from tests.finetune.job.running import Stopping, run
from tests.finetune.shades import folder_of, shade

pytestmark = pytest.mark.usefixtures("brief")

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal, sys, time
from pathlib import Path
from finetune.dataset.opening import open_dataset
from finetune.job.observing import Observer
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.training.settings import Settings

class Killer(Observer):
    def begin(self, stage, total=None):
        if stage == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
    def train(self, progress):
        if sys.argv[3] == f"epoch {progress.epoch}":
            os.kill(os.getpid(), signal.SIGKILL)

recipe = Recipe(model=sys.argv[4], views=2, training=Settings(epochs=6, learning_rate=0.05))
finetune(open_dataset(sys.argv[1]), recipe, Path(sys.argv[2]), device="cpu", threads=1, resume=True, observer=Killer())
"""


def test_a_folder_of_something_else_is_left_alone(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files"):
        run(photos, tmp_path, tiny_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_runs_do_not_write_into_one_folder(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "out"), pytest.raises(OutputError, match="is writing here"):
        run(photos, tmp_path / "out", tiny_path)


def test_a_finished_run_is_kept(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    before = run(photos, tmp_path / "out", tiny_path).model.read_bytes()
    with pytest.raises(OutputError, match=r"holds a finished run\. Choose another folder"):
        run(photos, tmp_path / "out", tiny_path)
    again = run(photos, tmp_path / "out", tiny_path, resume=True)
    assert again.findings is None
    assert again.model.read_bytes() == before


def test_a_finished_run_with_other_settings_or_images_is_not_called_done(
    tiny_path: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    before = run(folder, tmp_path / "out", tiny_path).model.read_bytes()
    with pytest.raises(OutputError, match=r"was finished with something else \(recipe.seed was 0, is 5\)"):
        run(folder, tmp_path / "out", tiny_path, resume=True, seed=5)
    shade((1, 2, 3), 0).save(folder / "sky" / "new.jpg")
    with pytest.raises(OutputError, match=r"was finished with something else \(the images or their labels"):
        run(folder, tmp_path / "out", tiny_path, resume=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before
    assert not (tmp_path / "out" / "work").exists()


def test_other_settings_or_images_are_not_mixed(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        run(folder, out, tiny_path, observer=Stopping("train"))
    with pytest.raises(OutputError, match="has not finished"):
        run(folder, out, tiny_path)
    with pytest.raises(OutputError, match=r"recipe.seed was 0, is 5"):
        run(folder, out, tiny_path, resume=True, seed=5)
    shade((1, 2, 3), 0).save(folder / "sky" / "new.jpg")
    with pytest.raises(OutputError, match="the images or their labels have changed"):
        run(folder, out, tiny_path, resume=True)


@pytest.mark.smoke
def test_killed_at_every_stage_and_resumed_gives_the_same_bytes(
    photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"

    def process(folder: Path, moment: str) -> int:
        command = [sys.executable, "-c", KILLED, str(photos), str(folder), moment, str(tiny_path)]
        return subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode

    for moment in ("views", "epoch 3", "report"):
        assert process(out, moment) == -9, moment
    assert process(out, "") == 0
    assert process(whole, "") == 0
    assert (out / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()
    assert (
        json.loads((out / "report.json").read_text())["classification"]
        == (json.loads((whole / "report.json").read_text())["classification"])
    )

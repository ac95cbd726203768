"""The proof of a finished file, where photos change while a model learns from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.job.observing import LineObserver
from models.errors import ModelError
from tests.finetune.job.running import run
from tests.finetune.shades import SHADES, folder_of, shade

pytestmark = pytest.mark.usefixtures("brief")


class Meddling(LineObserver):
    """Does something to the photos when all is learned, and keeps what is said."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)
        self._meddle = meddle

    def begin(self, stage: str, total: int | None = None) -> None:
        super().begin(stage, total)
        if stage == "export":
            self._meddle()


def test_photos_that_change_meanwhile_cost_neither_the_model_nor_its_proof(
    whole: None, tiny_path: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 4)

    def meddle() -> None:
        (folder / "sky" / "000.jpg").unlink()
        (folder / "sky" / "001.jpg").write_bytes(b"no photo any more")
        shade(SHADES["brick"], 999).save(folder / "sky" / "002.jpg")

    observer = Meddling(meddle)
    outcome = run(folder, tmp_path / "out", tiny_path, observer=observer)
    assert outcome.findings is not None
    assert outcome.findings.proof is not None
    assert outcome.findings.proof.images == len(SHADES) * 4 - 3
    (text,) = (line for line in observer.lines if "changed or gone since they were read" in line)
    assert all(name in text for name in ("sky/000.jpg", "sky/001.jpg", "sky/002.jpg"))


def test_a_file_that_nothing_can_prove_is_put_aside(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 4)
    observer = Meddling(lambda: shutil.rmtree(folder))
    with pytest.raises(
        ModelError, match=r"of 12 images that were measured none is what it was .* kept as .*refused"
    ):
        run(folder, tmp_path / "out", tiny_path, observer=observer)
    assert not (tmp_path / "out" / "model.onnx").exists()

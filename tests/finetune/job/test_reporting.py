"""What a run has found: said of the finished file, beside an older one, and for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.model import Model
from models.runtime import RuntimeConfig
from tests.finetune.job.running import run
from tests.finetune.shades import folder_of

pytestmark = pytest.mark.usefixtures("brief")


@pytest.mark.usefixtures("whole")
def test_file_says_what_was_measured(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path, measure="split")
    found = outcome.findings
    assert found is not None
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    pixels = np.stack([model.decode(photos / name) for name in found.ids])
    np.testing.assert_allclose(model.probabilities(pixels), found.after, atol=1e-5)
    assert model.card.accuracy[0].top1 == pytest.approx((found.after.argmax(1) == found.truth).mean())


def test_a_previous_model_and_unknown_images(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "first", tiny_path)
    strangers = folder_of(tmp_path / "strangers", 5, {"ink": (5, 5, 5)})
    found = run(
        photos, tmp_path / "second", tiny_path, previous=str(first.model), unknown=str(strangers)
    ).findings
    assert found is not None
    assert found.previous is not None
    assert first.findings is not None
    np.testing.assert_array_equal(found.previous.predicted, first.findings.after.argmax(1))
    assert found.rejection is not None
    assert found.rejection.unknown is not None
    assert len(found.rejection.unknown) == 5


def test_tensorboard_shows_curves_and_photos(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    folder = tmp_path / "out" / "tensorboard"
    assert list(folder.glob("events*"))
    config = (folder / "projector_config.pbtxt").read_text()
    assert "sprite" in config
    (labels,) = (
        folder.rglob("*.tsv") if len(list(folder.rglob("*.tsv"))) == 1 else folder.rglob("*metadata*.tsv")
    )
    assert set(labels.read_text().split()) == {outcome.findings.classes[i] for i in outcome.findings.truth}

"""Images of nothing that was taught: how many the finished file takes for something."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.items import read_item
from finetune.job.observing import LineObserver
from finetune.trust.strangers import KINDS, OF_A_KIND, rendered
from models.errors import InputError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.finetune.job.running import run
from tests.finetune.shades import SHADES, folder_of

pytestmark = pytest.mark.usefixtures("brief")


def test_strangers_are_counted_as_the_finished_file_answers_them(
    photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    shown = {one.kind: one for one in outcome.findings.strangers}
    assert set(KINDS) <= set(shown)
    for kind in KINDS:
        images = [stranger for stranger in rendered() if stranger.kind == kind]
        answers = model.answers(np.stack([model.decode(read_item(one.item)) for one in images]))
        assert answers.rejected is not None
        assert (shown[kind].images, shown[kind].accepted) == (len(images), int((~answers.rejected).sum()))
        surest = answers.probabilities[~answers.rejected].max(axis=1, initial=0)
        for (_, name, probability), expected in zip(shown[kind].examples, -np.sort(-surest), strict=False):
            assert name in SHADES
            assert probability == pytest.approx(expected, abs=1e-4)
    rejection = json.loads(outcome.report.with_suffix(".json").read_text())["classification"]["rejection"]
    assert [row["kind"] for row in rejection["strangers"]] == list(shown)


def test_a_stranger_that_was_taught_is_none(tiny_path: Path, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos")
    (stranger, *_) = rendered()
    (source / "sky" / "taught.bmp").write_bytes(read_item(stranger.item))
    outcome = run(source, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    (shown,) = [one for one in outcome.findings.strangers if one.kind == stranger.kind]
    assert shown.images == OF_A_KIND - 1


def test_unknown_images_that_are_taught_are_left_out(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    unknown = folder_of(tmp_path / "unknown", 3, {"night": (10, 10, 20)}) / "night"
    for number in range(2):
        shutil.copy(photos / "sky" / f"{number:03}.jpg", unknown / f"taught{number}.jpg")
    lines: list[str] = []
    outcome = run(
        photos, tmp_path / "out", tiny_path, unknown=str(unknown), observer=LineObserver(lines.append)
    )
    (text,) = (
        line for line in lines if line.startswith("left out: 2 unknown images of 5 among the labelled ones")
    )
    assert "taught0.jpg" in text
    assert outcome.findings is not None
    assert outcome.findings.rejection is not None
    assert outcome.findings.rejection.unknown is not None
    assert len(outcome.findings.rejection.unknown) == 3
    with pytest.raises(InputError, match=r"--unknown: 20 unknown images of 20 among the labelled ones"):
        run(photos, tmp_path / "none", tiny_path, unknown=str(photos / "sky"))

"""What Ctrl-C ends in the middle of a part is kept, and the folder ends up with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_extraction import unfinished
from feature_extraction.extraction import ExtractionReport, extract_to
from feature_extraction.formats import Format
from feature_extraction.sources import images
from models.features import FeatureModel, FeatureOptions, open_features
from models.runtime import RuntimeConfig
from tests.fixtures import plain


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02}.png").write_bytes(b"" if i == 3 else plain((i, 2 * i, 90), (16, 16)))
    return folder


@pytest.fixture
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(("pool",)), RuntimeConfig("cpu", 1))


def run(
    photos: Path,
    features: FeatureModel,
    out: Path,
    stop_at: int = 0,
    form: Format = "npy",
    *,
    resume: bool = False,
) -> ExtractionReport:
    def progress(done: int) -> None:
        if stop_at and done >= stop_at:
            raise KeyboardInterrupt

    return extract_to(
        out, images(str(photos)), features, form, resume=resume, threads=1, batch_size=8, progress=progress
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


@pytest.mark.parametrize("form", ["npy", "jsonl"])
def test_nothing_is_computed_twice(
    photos: Path, features: FeatureModel, tmp_path: Path, form: Format
) -> None:
    run(photos, features, tmp_path / "whole", form=form)
    with pytest.raises(KeyboardInterrupt):
        run(photos, features, tmp_path / "out", 16, form)
    assert (tmp_path / "out" / unfinished.NAME).is_file()
    report = run(photos, features, tmp_path / "out", form=form, resume=True)
    assert (report.before, report.images + report.failed) == (16, 24)
    # Else the command would say that all could be read.
    assert (report.failed_before, report.failed) == (1, 0)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_it_may_be_ended_again_and_again(photos: Path, features: FeatureModel, tmp_path: Path) -> None:
    run(photos, features, tmp_path / "whole")
    for stop in (8, 24, 32):
        with pytest.raises(KeyboardInterrupt):
            run(photos, features, tmp_path / "out", stop, resume=True)
    assert run(photos, features, tmp_path / "out", resume=True).before == 32
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("what", ["damaged", "other images"])
def test_what_does_not_fit_is_computed_anew(
    photos: Path, features: FeatureModel, tmp_path: Path, what: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(photos, features, tmp_path / "out", 16)
    if what == "damaged":
        (tmp_path / "out" / unfinished.NAME).write_bytes(b"PK\x03\x04 half of one")
    else:
        (photos / "00.png").rename(photos / "00a.png")
    run(photos, features, tmp_path / "whole")
    report = run(photos, features, tmp_path / "out", resume=True)
    assert (report.before, report.images + report.failed) == (0, 40)
    assert (report.failed_before, report.failed) == (0, 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")

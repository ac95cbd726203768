"""`graft dataset inspect` and `graft dataset clean`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.finetune.dataset.samples import classes, jpeg, write
from tests.service.running import Run


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = classes(tmp_path / "photos", cat=6, dog=6)
    return write(
        root, {"dog/copy.jpg": (root / "cat/0.jpg").read_bytes(), "cat/small.jpg": jpeg(2, quality=40)}
    )


def test_summary_and_report(graft: Run, tiny_path: Path, photos: Path) -> None:
    result = graft("dataset", "inspect", photos, "-m", tiny_path)
    assert result.exit_code == 0
    assert "14 images of 2 classes, 0 unreadable" in result.stdout
    assert "1 groups of equal files, 1 of near copies" in result.stdout
    assert "cat/0.jpg = dog/copy.jpg" in result.stdout
    assert "report    photos-inspection.html" in result.stdout
    assert "<title>" in (photos.parent / "photos-inspection.html").read_text(encoding="utf-8")


def test_json_writes_no_report_and_tells_of_what_cannot_be_read(graft: Run, photos: Path) -> None:
    write(photos, {"dog/bad.jpg": b"no image"})
    result = graft("dataset", "inspect", photos, "--no-model", "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert [one["image"] for one in values["unreadable"]] == ["dog/bad.jpg"]
    assert values["different_labels"] == [["cat/0.jpg", "dog/copy.jpg"]]
    assert "bad.jpg: not an image" in result.stderr
    assert not list(photos.parent.glob("*.html"))


def test_one_image_in_a_class(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    root = classes(tmp_path / "few", a=1, b=2)
    result = graft("dataset", "inspect", root, "-m", tiny_path, "--no-report")
    assert result.exit_code == 0
    assert "Warning: a: one image only" in result.stderr


def test_clean(graft: Run, photos: Path) -> None:
    result = graft("dataset", "clean", photos, "--no-model", "--drop", "near", "--out", "list.csv")
    assert result.exit_code == 0
    assert "11 of 14 images kept" in result.stdout
    again = graft("dataset", "inspect", "list.csv", "--no-model", "--json")
    assert json.loads(again.stdout)["duplicates"] == []
    refused = graft("dataset", "clean", photos, "--no-model", "--out", "list.csv")
    assert refused.exit_code == 2
    assert "list.csv is there already" in refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "a.txt"], "ends in .csv"),
        (["--out", "a.csv", "--no-model", "--drop", "labels"], "judges no labels"),
    ],
)
def test_clean_refuses_before_the_work(graft: Run, photos: Path, options: list[str], message: str) -> None:
    result = graft("dataset", "clean", photos, *options)
    assert result.exit_code == 2
    assert message in result.stderr

"""Where a command cannot write is said before it works, not after."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.shades import folder_of
from tests.service.running import Run

COMMANDS = {
    "inspect": ("dataset", "inspect", "PHOTOS", "--no-model", "--report", "PLACE/a.html"),
    "clean": ("dataset", "clean", "PHOTOS", "--no-model", "--out", "PLACE/a.csv"),
    "explain": ("explain", "PHOTOS/sky/000.jpg", "--out", "PLACE/a.png"),
    "quantize": ("models", "quantize", "MODEL", "--calibrate", "PHOTOS", "--out", "PLACE/a.onnx"),
    "features": ("features", "PHOTOS", "-m", "MODEL", "--out", "PLACE/a"),
    "finetune": ("finetune", "PHOTOS", "-m", "MODEL", "--out", "PLACE/a"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_place_that_cannot_be_written_is_found_before_an_image_is_read(
    graft: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("an image was read")

    (tmp_path / "file").write_bytes(b"in the way")
    photos = folder_of(tmp_path / "photos", 2)
    monkeypatch.setattr("feature_extraction.items.read_file", never)
    monkeypatch.setattr("models.preprocessing.Preprocessing.load", never)
    places = {"PHOTOS": str(photos), "MODEL": str(tiny_path), "PLACE": str(tmp_path / "file")}
    words = []
    for word in COMMANDS[name]:
        for place, path in places.items():
            word = word.replace(place, path)
        words.append(word)
    result = graft(*words)
    assert result.exit_code == 2, result.output
    assert "an image was read" not in result.output
    assert str(tmp_path / "file") in result.stderr


def test_folder_is_no_name_of_a_file(graft: Run, tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 2)
    (tmp_path / "list.csv").mkdir()
    result = graft("dataset", "clean", photos, "--no-model", "--out", tmp_path / "list.csv", "--force")
    assert result.exit_code == 2
    assert "list.csv" in result.stderr

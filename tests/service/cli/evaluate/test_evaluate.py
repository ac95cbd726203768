"""`graft evaluate`: the figures as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures import COLOURS, plain
from tests.service.running import Run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, count in (("train", 1), ("val", 2)):
        for name in COLOURS:
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.png").write_bytes(plain(name))
    return tmp_path / "data"


def test_text(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red" / "wrong.png").write_bytes(plain("blue"))
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val")
    assert result.exit_code == 0
    assert f"tiny on {data}, split val\n  7 images of 3 classes, 0 could not be read\n" in result.stdout
    assert "top-1  85.71 %  95 % confidence: 48.69 to 97.43 %" in result.stdout
    assert "top-5" not in result.stdout


def test_json_has_every_class(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red" / "broken.png").write_bytes(b"broken")
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val", "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert (values["model"], values["split"], values["images"], values["top1"]) == ("tiny", "val", 6, 1.0)
    assert values["classes"][0] == {"id": "c0", "label": "red", "images": 2, "correct": 2}
    assert values["failed"][0]["image"].endswith("broken.png")
    assert "broken.png: not an image" in result.stderr


def test_split_that_was_forgotten_is_asked_for(graft: Run, tiny_path: Path, data: Path) -> None:
    result = graft("evaluate", "-m", tiny_path, data)
    assert result.exit_code == 2
    assert "Choose it with --split train" in result.stderr


def test_classes_of_another_model_are_named(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red").rename(data / "val" / "pink")
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val")
    assert result.exit_code == 2
    assert "Error: pink: no such class in tiny" in result.stderr

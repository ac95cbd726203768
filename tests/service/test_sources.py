"""What is served for an entry: a file, a run's folder, a repository of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from service.sources import Source, sources


def files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def brief(found: list[Source]) -> list[tuple[str, int]]:
    return [(source.name, source.version) for source in found]


def test_a_folder_gives_what_is_in_it(tmp_path: Path) -> None:
    files(
        tmp_path, "birds.onnx", "cats/2/model.onnx", "cats/10/model.onnx", "photos-model/model.onnx",
        "photos-model/report.html", "cats/old/model.onnx", "notes.txt", "empty/readme",
    )  # fmt: skip
    held = sources([str(tmp_path)])
    assert brief(held) == [("birds", 1), ("cats", 2), ("cats", 10), ("photos-model", 1)]
    assert held[2].spec == str(tmp_path / "cats" / "10" / "model.onnx")


def test_a_run_is_called_like_its_folder(tmp_path: Path) -> None:
    files(tmp_path, "a-model/model.onnx", "b-model/model.onnx")
    assert brief(sources([str(tmp_path / "a-model"), str(tmp_path / "b-model" / "model.onnx")])) == [
        ("a-model", 1), ("b-model", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (("x=a.onnx", "x=b.onnx"), "a.onnx and b.onnx are both called 'x'; give one another name: x2=b.onnx"),
        (("a:b=c.onnx",), "'a:b' has a colon"),
    ],
)
def test_names_are_checked(entries: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sources(entries)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "photo.jpg")
    with pytest.raises(InputError, match=r"a folder without models; expected files NAME\.onnx"):
        sources([str(tmp_path)])

"""A file that a client names lies in the repository, wherever links and dots lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import InputError
from service.repository import file_in, name_and_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for path in (
        "birds.onnx",
        "cats/2/model.onnx",
        "notes.txt",
        "../secret.onnx",
        "../repository-2/other.onnx",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


@pytest.mark.parametrize("path", ["birds.onnx", "cats/2/model.onnx", "cats/../birds.onnx", "./birds.onnx"])
def test_what_lies_below_is_taken(folder: Path, path: str) -> None:
    assert file_in(["gone", str(folder)], path) == (folder / path).resolve()
    assert file_in([str(folder)], str(folder / path)) == (folder / path).resolve()


@pytest.mark.parametrize(
    "path",
    ["../secret.onnx", "cats/../../secret.onnx", "/etc/passwd", "../repository-2/other.onnx", "gone.onnx", "notes.txt",
     "cats", "", ".", "..", "birds.onnx\0", "\ud800.onnx", "a/" * 3000, "x" * 5000 + ".onnx", "builtin"],
)  # fmt: skip
def test_anything_else_is_refused_in_the_same_words(folder: Path, path: str) -> None:
    with pytest.raises(InputError, match=r" is no \.onnx file in the repository; expected its path there"):
        file_in([str(folder)], path)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_lead_nowhere_outside(folder: Path) -> None:
    (folder / "out.onnx").symlink_to(folder / "../secret.onnx")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop.onnx").symlink_to(folder / "loop.onnx")
    (folder / "in.onnx").symlink_to(folder / "birds.onnx")
    for path in ("out.onnx", "up/secret.onnx", "loop.onnx"):
        with pytest.raises(InputError, match=r"is no \.onnx file in the repository"):
            file_in([str(folder)], path)
    assert file_in([str(folder)], "in.onnx") == folder / "birds.onnx"


def test_without_a_repository_nothing_is_loaded() -> None:
    with pytest.raises(InputError, match="Start the service with --repository FOLDER"):
        file_in([], "birds.onnx")


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        ("birds.onnx", "birds", None),
        ("cats/2/model.onnx", "cats", 2),
        ("my-model/model.onnx", "my-model", None),
    ],
)
def test_the_path_says_name_and_version(path: str, name: str, version: int | None) -> None:
    assert name_and_version(Path("/repository") / path) == (name, version)

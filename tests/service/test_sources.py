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


def test_a_file_of_the_usual_name_hides_none_beside_it(tmp_path: Path) -> None:
    files(
        tmp_path / "shop",
        "model.onnx",
        "birds.onnx",
        "cats/model.onnx",
        "cats/2/model.onnx",
        "dogs/1/model.onnx",
    )
    assert brief(sources([str(tmp_path / "shop")])) == [
        ("shop", 1), ("birds", 1), ("cats", 1), ("cats", 2), ("dogs", 1),
    ]  # fmt: skip
    assert brief(sources([f"pets={tmp_path / 'shop'}"])) == [("pets", 1)]
    files(tmp_path / "shop", "cats/1/model.onnx")
    with pytest.raises(InputError, match=r"cats/model\.onnx and .*cats/1/model\.onnx are both called 'cats'"):
        sources([str(tmp_path / "shop")])


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
        (("=c.onnx",), r"=c\.onnx: '' is no name that an address can spell. Give another one: NAME=c\.onnx"),
        (("a/b=c.onnx",), "'a/b' is no name that an address can spell"),
        (("a=",), "'a=' names no model; expected NAME=FILE"),
        (("",), "'' names no model; expected NAME=FILE"),
    ],
)
def test_names_are_checked(entries: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sources(entries)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "photo.jpg")
    with pytest.raises(InputError, match=r"a folder without models; expected files NAME\.onnx"):
        sources([str(tmp_path)])


def test_what_volumes_hold_beside_models_is_passed_over(tmp_path: Path) -> None:
    files(
        tmp_path,
        "..data/birds.onnx",
        "..data/model.onnx",
        "..2026_01/birds.onnx",
        "._birds.onnx",
        ".x/1/model.onnx",
    )
    files(tmp_path, "lost+found/model.onnx", "lost+found/1/model.onnx", "birds.onnx")
    assert brief(sources([str(tmp_path)])) == [("birds", 1)]


@pytest.mark.parametrize("file", ["model.onnx", "anything.onnx", "run/model.onnx"])
def test_the_one_model_of_a_folder_has_the_name_that_is_given(file: str, tmp_path: Path) -> None:
    files(tmp_path, file)
    assert sources([f"pets={tmp_path}"]) == [Source("pets", 1, str(tmp_path / file))]


def test_versions_in_a_folder_that_has_a_name(tmp_path: Path) -> None:
    files(tmp_path, "cats/2/model.onnx", "cats/3/model.onnx")
    assert brief(sources([f"pets={tmp_path}"])) == [("pets", 2), ("pets", 3)]


@pytest.mark.parametrize(("prefix", "name"), [("", "cats"), ("pets=", "pets")])
def test_numbers_in_a_folder_are_versions_of_it(prefix: str, name: str, tmp_path: Path) -> None:
    files(tmp_path / "cats", "2/model.onnx", "10/model.onnx")
    assert brief(sources([f"{prefix}{tmp_path / 'cats'}"])) == [(name, 2), (name, 10)]
    files(tmp_path / "cats", "model.onnx")
    assert brief(sources([f"{prefix}{tmp_path / 'cats'}"])) == [(name, 1), (name, 2), (name, 10)]
    (tmp_path / "cats" / "model.onnx").unlink()
    files(tmp_path / "cats", "2024/1/model.onnx")  # no version: nothing lies in it
    assert brief(sources([str(tmp_path / "cats")])) == [("cats", 2), ("cats", 10), ("2024", 1)]


def test_one_name_for_several_models_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "a.onnx", "b.onnx")
    with pytest.raises(
        InputError, match=r"holds 2 models \(a, b\), and one can have the name.*pets=.*a\.onnx"
    ):
        sources([f"pets={tmp_path}"])
    files(tmp_path / "none", "readme")
    with pytest.raises(InputError, match="a folder without models"):
        sources([f"pets={tmp_path / 'none'}"])

"""`graft classify`: every way in, every way out, and bad images among good ones."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from models.errors import ModelError
from tests.fixtures import COLOURS, plain, tiny_classifier
from tests.hostile import READABLE, REFUSED
from tests.service.running import Run


def lines(output: str) -> dict[str, list[str]]:
    """JSON lines as {name of the file: labels, best first}."""
    rows = [json.loads(line) for line in output.splitlines()]
    return {Path(row["image"]).name: [guess["label"] for guess in row.get("predictions", ())] for row in rows}


def test_text_shows_each_image_with_its_classes(graft: Run, tiny_path: Path, photos: Path) -> None:
    result = graft("classify", "-m", tiny_path, photos, "-k", "2")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.output.splitlines()[:4] == [
        f"{photos}/blue.png",
        f"  blue   {'█' * 40} 100.0 %",
        f"  red    {' ' * 40}   0.0 %",
        "",
    ]


@pytest.mark.parametrize("how", ["folder", "file", "glob", "zip"])
def test_every_source_gives_the_same(graft: Run, tiny_path: Path, photos: Path, how: str) -> None:
    if how == "zip":
        with zipfile.ZipFile(photos.parent / "photos.zip", "w") as archive:
            for path in sorted(photos.iterdir()):
                archive.write(path, path.name)
    sources = {
        "folder": [photos],
        "file": sorted(photos.iterdir()),
        "glob": [photos / "*.png"],
        "zip": [photos.parent / "photos.zip"],
    }
    result = graft("classify", "-m", tiny_path, "--json", *sources[how])
    assert result.exit_code == 0
    assert {name: labels[0] for name, labels in lines(result.stdout).items()} == {
        f"{name}.png": name for name in COLOURS
    }


def test_standard_input(graft: Run, tiny_path: Path) -> None:
    result = graft("classify", "-m", tiny_path, "-", "--json", input=plain("green"))
    assert lines(result.stdout)["-"][0] == "green"


def test_csv_has_a_header_and_a_row_for_each_class(graft: Run, tiny_path: Path, photos: Path) -> None:
    result = graft("classify", "-m", tiny_path, photos / "red.png", "--csv", "-k", "1")
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["image", "rank", "id", "label", "probability"]
    assert rows[1][:4] == [f"{photos}/red.png", "1", "c0", "red"]
    assert float(rows[1][4]) == pytest.approx(0.9999092)


def test_more_classes_than_there_are_gives_all(graft: Run, tiny_path: Path, photos: Path) -> None:
    result = graft("classify", "-m", tiny_path, photos / "red.png", "--json", "-k", "1000000")
    assert lines(result.stdout) == {"red.png": ["red", "green", "blue"]}


def test_bad_images_are_told_and_the_others_answered(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    for name, (data, _) in {**READABLE, **REFUSED}.items():
        if not name.endswith((".eps",)):
            (tmp_path / name).write_bytes(data())
    result = graft("classify", "-m", tiny_path, tmp_path, "--json")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    rows = lines(result.stdout)
    refused = set(REFUSED) - {"program.eps"}
    assert {name for name, labels in rows.items() if labels} == set(READABLE)
    assert {name for name, labels in rows.items() if not labels} == refused
    complaints = result.stderr.splitlines()
    assert len(complaints) == len(refused)
    assert all(line.startswith("Error: ") for line in complaints)


def test_only_bad_images_is_code_1(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    result = graft("classify", "-m", tiny_path, tmp_path / "bad.jpg")
    assert (result.exit_code, result.stdout) == (1, "")


def test_missing_path_among_good_ones_is_code_1_and_alone_code_2(
    graft: Run, tiny_path: Path, photos: Path
) -> None:
    result = graft("classify", "-m", tiny_path, photos / "gone.png", photos, "--json")
    assert result.exit_code == 1
    assert len(lines(result.stdout)) == 3
    assert "gone.png: no such file or folder" in result.stderr
    assert graft("classify", "-m", tiny_path, photos / "gone.png").exit_code == 2


def test_folder_without_images_is_code_2(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    result = graft("classify", "-m", tiny_path, tmp_path)
    assert result.exit_code == 2
    assert "no images in it (1 other file (1 .txt))" in result.stderr


def test_what_is_passed_over_is_counted(graft: Run, tiny_path: Path, photos: Path) -> None:
    (photos / "notes.txt").write_text("nothing to see")
    result = graft("classify", "-m", tiny_path, photos)
    assert (result.exit_code, result.stderr) == (0, "1 other file (1 .txt) passed over\n")


def test_control_characters_of_a_name_do_not_reach_the_terminal(
    graft: Run, tiny_path: Path, tmp_path: Path
) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    (tmp_path / "a\x1b[31m\n.png").write_bytes(plain("red"))
    (tmp_path / "b\x1b[31m.png").write_bytes(b"bad")
    result = graft("classify", "-m", tiny_path, tmp_path)
    assert "\x1b" not in result.output
    assert "a?[31m?.png" in result.stdout
    assert len(result.stderr.splitlines()) == 1


def test_model_with_a_fixed_batch_takes_any_number(graft: Run, photos: Path, tmp_path: Path) -> None:
    path = tiny_classifier(tmp_path / "fixed.onnx", batch_size=2)
    result = graft("classify", "-m", path, photos, "--json")
    assert [labels[0] for labels in lines(result.stdout).values()] == ["blue", "green", "red"]


def test_text_file_as_model_is_explained(graft: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    result = graft("classify", "-m", tmp_path / "text.onnx", photos)
    assert result.exit_code == 2
    assert "text.onnx" in result.stderr
    assert "Traceback" not in result.output


def test_features_model_is_explained(
    graft: Run, tiny_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise ModelError("tiny: gives features, not classes.")

    monkeypatch.setattr("models.model.Model.require_classifier", refuse)
    result = graft("classify", "-m", tiny_path, photos)
    assert (result.exit_code, result.stderr) == (2, "Error: tiny: gives features, not classes.\n")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "tpu:0", "openvino"])
def test_device_that_cannot_be_had_is_an_error(
    graft: Run, tiny_path: Path, photos: Path, device: str
) -> None:
    result = graft("classify", "-m", tiny_path, photos, "--device", device)
    assert result.exit_code == 2
    assert f"device '{device}'" in result.stderr


def test_two_forms_at_once_are_refused(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    result = graft("classify", "-m", tiny_path, tmp_path, "--json", "--csv")
    assert result.exit_code == 2
    assert "--json and --csv are two forms of the same answers" in result.stderr

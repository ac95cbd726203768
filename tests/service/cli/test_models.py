"""`graft models ...` and `graft doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from models.card import KEY
from models.zoo import ZOO
from tests.fixtures import plain
from tests.service.running import Run


@pytest.fixture
def bare(tiny_path: Path, tmp_path: Path) -> Path:
    """The network of the tiny classifier without its card."""
    model = onnx.load(tiny_path)
    position = [entry.key for entry in model.metadata_props].index(KEY)
    del model.metadata_props[position]
    path = tmp_path / "bare.onnx"
    onnx.save(model, path)
    return path


def test_list_has_every_row(graft: Run) -> None:
    result = graft("models", "list")
    assert result.exit_code == 0
    assert all(row.name in result.stdout for row in ZOO)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_info_of_what_is_not_there_yet_tells_how_to_get_it(graft: Run) -> None:
    result = graft("models", "info", "inception_v3")
    assert result.exit_code == 0
    assert "graft models pull" in result.stdout
    assert "shorter side to 342, central 299 x 299 pixels, bilinear" in result.stdout
    assert graft("models", "info", "inception_v3", "--json").exit_code == 2


def test_info_and_cuts_of_a_file(graft: Run, tiny_path: Path) -> None:
    info = graft("models", "info", tiny_path)
    assert "classes     3: red, green, blue" in info.stdout
    assert "squashed to 16 x 16 pixels, bilinear" in info.stdout
    card = json.loads(graft("models", "info", tiny_path, "--json").stdout)
    assert card["labels"][0] == {"id": "c0", "name": "red"}
    cuts = graft("models", "cuts", tiny_path).stdout.splitlines()
    assert [line.split() for line in cuts] == [
        ["CUT", "POINT", "SHAPE", "VALUES"],
        ["pool", "3", "3"],
        ["logits", "3", "3"],
    ]


def test_cuts_of_what_is_not_there_names_the_way(graft: Run) -> None:
    result = graft("models", "cuts", "inception_v3")
    assert result.exit_code == 2
    assert "Get it with: graft models pull inception_v3.torchvision" in result.stderr


def test_pull_refuses_what_nobody_pinned(graft: Run) -> None:
    result = graft("models", "pull", "inception_v3.gluon_in1k")
    assert result.exit_code == 2
    assert "Add --allow-unpinned" in result.stderr


@pytest.mark.parametrize("name", ["gone", "resnet50"])
def test_pull_of_an_unknown_name_is_explained(graft: Run, name: str) -> None:
    result = graft("models", "pull", name)
    assert result.exit_code == 2
    assert f"model '{name}' is not known" in result.stderr


def test_pull_with_a_file_that_holds_no_weights_is_explained(graft: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    result = graft("models", "pull", "inception_v3", "--file", tmp_path / "weights.pth")
    assert result.exit_code == 2
    assert "weights.pth" in result.stderr
    assert "Traceback" not in result.output


def test_import_writes_a_file_that_classifies(graft: Run, bare: Path, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("rot\ngrün\nblau\n", encoding="utf-8")
    result = graft(
        "models",
        "import",
        bare,
        "--labels",
        labels,
        "--resize",
        "squash",
        "--scale",
        "0..255",
        "--name",
        "farben",
    )
    assert result.exit_code == 0, result.stderr
    written = bare.with_name("bare.graft.onnx")
    assert f"{written}: 3 classes" in result.stdout
    (tmp_path / "green.png").write_bytes(plain("green"))
    answer = graft("classify", "-m", written, tmp_path / "green.png", "--json", "-k", "1")
    assert json.loads(answer.stdout)["predictions"][0]["label"] == "grün"
    assert "farben, version 1" in graft("models", "info", written).stdout


def test_import_says_each_guess(graft: Run, bare: Path) -> None:
    result = graft("models", "import", bare)
    assert result.exit_code == 0, result.stderr
    assert all(line.startswith("guessed: ") for line in result.stdout.splitlines()[:-1])
    assert "guessed" in result.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--size", "0"], "'0' is no size"),
        (["--size", "224x"], "'224x' is no size"),
        (["--resize", "squash:9"], "'squash:9' is no way to resize"),
        (["--resize", "shorter:"], "no way to resize"),
        (["--scale", "1,2,3"], "'1,2,3' is no scale; expected imagenet"),
        (["--scale", "0,0,0/1,nan,1"], "is no scale"),
        (["--scale", "0,0,0/1,0,1"], "is no scale"),
        (["--crop-fraction", "0"], "not in the range"),
        (["--crop-fraction", "nan"], "crop_fraction is nan; expected more than 0, at most 1"),
        (["--resize", "shorter:8"], "resize_to is 8; expected at least 16, the size"),
        (["--labels", "gone.txt"], "does not exist"),
    ],
)
def test_import_refuses_what_makes_no_sense(graft: Run, bare: Path, options: list[str], reason: str) -> None:
    result = graft("models", "import", bare, *options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert not bare.with_name("bare.graft.onnx").exists()


def test_import_does_not_write_over_what_it_reads(graft: Run, bare: Path) -> None:
    before = bare.read_bytes()
    result = graft("models", "import", bare, "-o", bare)
    assert (result.exit_code, bare.read_bytes()) == (2, before)


def test_doctor_names_versions_device_and_cache(
    graft: Run, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = graft("doctor", "--device", "cpu")
    assert result.exit_code in (0, 1)
    for word in ("graft", "python", "onnxruntime", "providers", "cuda", "device", "cache", "built-in model"):
        assert any(line.startswith(word) for line in result.stdout.splitlines()), word


def test_doctor_says_what_is_wrong(graft: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = graft("doctor", "--device", "openvino")
    assert result.exit_code == 1
    assert "OpenVINOExecutionProvider" in result.stdout

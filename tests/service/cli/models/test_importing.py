"""`graft models import`: the file, the guesses, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.card import KEY
from models.model import Model
from models.proof import read_proof
from tests.fixtures import plain
from tests.models.nets import node, residual_net, save
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
    assert read_proof(Model.open(written).session.metadata) is not None


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
        (
            ["--resize", "pad:0"],
            "no way to resize; expected squash, shorter, shorter:256, pad, or pad:HEIGHTxWIDTH",
        ),
        (["--resize", "pad:24x32", "--size", "16"], "name two sizes"),
        (["--resize", "pad:24x32"], r"size (24, 32) was asked for and the network takes (16, 16) only"),
        (["--resize", "pad", "--crop-fraction", "0.5"], "expected neither crop_fraction nor resize_to"),
        (["--pad-value", "114"], "pad_value is for resize pad"),
        (["--channels", "brg"], "channels is 'brg'; expected one of rgb, bgr"),
        (["--check", "gone.jpg"], "does not exist"),
        (["--scale", "1,2,3"], "'1,2,3' is no scale; expected imagenet"),
        (["--scale", "0,0,0/1,nan,1"], "is no scale"),
        (["--scale", "0,0,0/1,0,1"], "is no scale"),
        (["--crop-fraction", "0"], "crop_fraction is 0; expected a number above 0 to 1"),
        (["--crop-fraction", "nan"], "crop_fraction is nan; expected a number above 0 to 1"),
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


@pytest.mark.parametrize("option", ["--out", "--output", "-o"])
def test_import_writes_where_it_is_told(graft: Run, bare: Path, tmp_path: Path, option: str) -> None:
    result = graft("models", "import", bare, option, tmp_path / "mine.onnx")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "mine.onnx").is_file()


def test_import_does_not_write_over_what_it_reads(graft: Run, bare: Path) -> None:
    before = bare.read_bytes()
    result = graft("models", "import", bare, "-o", bare)
    assert (result.exit_code, bare.read_bytes()) == (2, before)


def test_letterbox_is_in_the_card(graft: Run, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    options = ("--labels", tmp_path / "names.txt", "--resize", "pad:16x16", "--pad-value", "114")
    result = graft("models", "import", bare, *options)
    assert result.exit_code == 0, result.stderr
    info = graft("models", "info", bare.with_name("bare.graft.onnx")).stdout
    assert "fitted into 16 x 16 pixels, the rest filled with grey 114, bilinear" in " ".join(info.split())


def test_check_prints_the_classes_under_each_convention(graft: Run, tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    (tmp_path / "red.png").write_bytes(plain("red"))
    result = graft("models", "import", path, "--check", tmp_path / "red.png")
    assert result.exit_code == 0, result.stderr
    ways = [line.strip() for line in result.stdout.splitlines() if line.startswith("  --scale")]
    assert ways == [
        "--scale imagenet --channels rgb  (taken)",
        "--scale -1..1 --channels rgb",
        "--scale 0..1 --channels rgb",
        "--scale 0..255 --channels rgb",
        "--scale 0..255 --channels bgr",
        "--scale caffe --channels bgr",
    ]
    assert sum("class " in line and "%" in line for line in result.stdout.splitlines()) == 5 * 6
    taken = result.stdout.split("(taken)")[1].split()[:4]
    written = path.with_name("net.graft.onnx")
    best = json.loads(graft("classify", tmp_path / "red.png", "-m", written, "--json").stdout)["predictions"][
        0
    ]
    assert " ".join(taken[2:]) == best["label"]
    assert float(taken[0]) == pytest.approx(100 * best["probability"], abs=0.06)


def test_check_of_a_network_that_takes_bytes_compares_the_order_of_colours(
    graft: Run, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    (tmp_path / "red.png").write_bytes(plain("red"))
    options = ("--labels", tmp_path / "names.txt", "--check", tmp_path / "red.png")
    result = graft("models", "import", bare, *options)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    places = [i for i, line in enumerate(lines) if line[:1] == ["--scale"]]
    assert [lines[i][:4] for i in places] == [
        ["--scale", "0..255", "--channels", "rgb"],
        ["--scale", "0..255", "--channels", "bgr"],
    ]
    assert [lines[i + 1][-1] for i in places] == ["r", "b"]


def test_check_where_numbers_overflow_goes_on(graft: Run, tmp_path: Path) -> None:
    nodes = [
        node("Mul", ["x", "large"], ["t"]),
        node("ReduceMean", ["t", "axes"], ["m"], keepdims=0),
        node("Exp", ["m"], ["e"]),
        node("Sub", ["e", "e"], ["zero"]),
        node("Add", ["zero", "m"], ["out"]),
    ]
    weights = {"large": np.float32(4), "axes": np.int64([2, 3])}
    path = save(tmp_path / "net.onnx", nodes, weights)
    (tmp_path / "names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    (tmp_path / "red.png").write_bytes(plain("red"))
    result = graft(
        "models", "import", path, "--labels", tmp_path / "names.txt", "--check", tmp_path / "red.png"
    )
    assert result.exit_code == 0, result.stderr
    assert "NaN or infinity: it does not take pixels so" in result.stdout
    assert result.stdout.count("--channels") >= 6


def test_check_of_features_is_refused(graft: Run, tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", end="features")
    (tmp_path / "red.png").write_bytes(plain("red"))
    result = graft("models", "import", path, "--check", tmp_path / "red.png")
    assert result.exit_code == 2
    assert "gives features, and --check compares classes" in result.stderr
    assert not path.with_name("net.graft.onnx").exists()

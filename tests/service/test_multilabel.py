"""A network whose labels do not exclude each other: its probabilities come out as they are, everywhere."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.card import card_of, write_card
from service.app import create_app
from service.config import ServiceConfig
from service.monitoring.shadow import statement
from service.results import ImageResult
from tests.fixtures import COLOURS, plain
from tests.models.nets import node, save
from tests.service.running import Run

HIGH = 1 / (1 + np.exp(-5))  # sigmoid(10 * share of a colour - 5), of a pure colour


@pytest.fixture
def network(graft: Run, tmp_path: Path) -> Path:
    """Says of each colour whether it is in the image, imported."""
    nodes = [
        node("ReduceMean", ["x", "axes"], ["share"], keepdims=0),
        node("Mul", ["share", "ten"], ["t"]),
        node("Sub", ["t", "five"], ["z"]),
        node("Sigmoid", ["z"], ["out"]),
    ]
    weights = {"axes": np.int64([2, 3]), "ten": np.float32(10), "five": np.float32(5)}
    path = save(tmp_path / "net.onnx", nodes, weights)
    (tmp_path / "labels.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    result = graft("models", "import", path, "--scale", "0..1", "--resize", "squash")
    assert result.exit_code == 0, result.stderr
    assert "3 labels" in result.stdout
    return path.with_name("net.graft.onnx")


def test_classify_prints_each_probability_by_itself(graft: Run, network: Path, tmp_path: Path) -> None:
    (tmp_path / "white.png").write_bytes(plain((255, 255, 255)))  # type: ignore[arg-type]
    result = graft("classify", tmp_path / "white.png", "-m", network)
    assert result.stdout.count(f"{100 * HIGH:.1f} %") == 3
    assert "each probability stands by itself" in result.stderr
    rows = json.loads(graft("classify", tmp_path / "white.png", "-m", network, "--json").stdout)[
        "predictions"
    ]
    assert [row["probability"] for row in rows] == pytest.approx([HIGH] * 3, abs=1e-5)


def with_thresholds(network: Path, *thresholds: float) -> Path:
    """The network with thresholds as fine-tuning stores them."""
    proto = onnx.load(network)
    card = card_of(proto)
    assert card is not None
    write_card(proto, dataclasses.replace(card, thresholds=thresholds))
    path = network.with_name("tuned.onnx")
    onnx.save(proto, path)
    return path


def test_labels_hold_from_their_thresholds_on(graft: Run, network: Path, tmp_path: Path) -> None:
    tuned = with_thresholds(network, 0.999, 0.2, 0.001)  # of red, green and blue
    (tmp_path / "yellow.png").write_bytes(plain((255, 255, 0)))
    line = json.loads(graft("classify", tmp_path / "yellow.png", "-m", tuned, "--json").stdout)
    assert line["labels"] == ["green", "blue"]  # red is not sure enough
    assert {row["label"]: row["threshold"] for row in line["predictions"]} == {
        "red": 0.999,
        "green": 0.2,
        "blue": 0.001,
    }
    text = graft("classify", tmp_path / "yellow.png", "-m", tuned).stdout
    assert "  green, blue\n" in text
    assert "holds from 99.9 %" in text
    rows = list(
        csv.DictReader(graft("classify", tmp_path / "yellow.png", "-m", tuned, "--csv").stdout.splitlines())
    )
    assert {row["label"]: row["holds"] for row in rows} == {"red": "false", "green": "true", "blue": "true"}
    strict = with_thresholds(network, 0.999, 0.999, 0.999)
    assert "  no label holds\n" in graft("classify", tmp_path / "yellow.png", "-m", strict).stdout


def test_explain_looks_for_the_labels_that_hold(graft: Run, network: Path, tmp_path: Path) -> None:
    (tmp_path / "yellow.png").write_bytes(plain((255, 255, 0), (64, 64)))
    out = tmp_path / "map.png"
    result = graft(
        "explain", tmp_path / "yellow.png", "-m", network, "--method", "occlusion", "--out", out, "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert {json.loads(line)["label"] for line in result.stdout.splitlines()} == {"red", "green"}
    result = graft(
        "explain",
        tmp_path / "yellow.png",
        "-m",
        network,
        "--method",
        "occlusion",
        "--label",
        "blue",
        "--out",
        out,
        "--json",
    )
    assert json.loads(result.stdout)["label"] == "blue"


def test_a_shadow_says_which_labels_hold(network: Path) -> None:
    card = card_of(onnx.load(with_thresholds(network, 0.9, 0.2, 0.5)))
    assert card is not None
    result = ImageResult(np.array([0.8, 0.3, 0.4], np.float32))
    assert statement(card, result, with_none=True).text == "green"


def test_http_gives_the_same(network: Path) -> None:
    app = create_app(ServiceConfig(models=(f"net={network}",), measure_s=0))
    with app.test_client() as client:
        body = client.post("/v1/classify", data=plain((255, 255, 0)), content_type="image/png").get_json()
        card = client.get("/v1/models/net").get_json()
    rows = {row["label"]: row["probability"] for row in body["results"][0]["predictions"]}
    assert rows == pytest.approx({"red": HIGH, "green": HIGH, "blue": 1 - HIGH}, abs=1e-5)
    assert sorted(body["results"][0]["labels"]) == ["green", "red"]
    assert {row["threshold"] for row in body["results"][0]["predictions"]} == {0.5}
    assert card["task"] == "multilabel"


def test_evaluate_says_what_it_counts(graft: Run, network: Path, tmp_path: Path) -> None:
    for name in COLOURS:
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.png").write_bytes(plain(name))
    result = graft("evaluate", tmp_path / "set", "-m", network)
    assert result.exit_code == 0, result.stderr
    assert "100.00 %" in result.stdout
    assert "how often it is the most probable" in " ".join(result.stderr.split())


def test_evaluate_compares_the_labels_of_a_list(graft: Run, network: Path, tmp_path: Path) -> None:
    (tmp_path / "yellow.png").write_bytes(plain((255, 255, 0)))
    (tmp_path / "black.png").write_bytes(plain((0, 0, 0)))
    (tmp_path / "set.csv").write_text("path,labels\nyellow.png,red;green\nblack.png,\n", encoding="utf-8")
    result = graft("evaluate", tmp_path / "set.csv", "-m", network)
    assert result.exit_code == 0, result.stderr
    assert "all labels right        100.00 %" in result.stdout
    assert "No image has blue" in result.stderr
    assert "parted by ';'" in result.stderr
    (tmp_path / "set.csv").write_text(
        "path,labels\nyellow.png,red;blue\nblack.png,gold;red\n", encoding="utf-8"
    )
    result = graft(
        "evaluate", tmp_path / "set.csv", "-m", network, "--json", "--report", tmp_path / "page.html"
    )
    values = json.loads(result.stdout)
    assert (values["all_right"], values["precision"], values["recall"]) == (0.0, 0.5, 1 / 3)
    assert values["unknown"] == [{"label": "gold", "images": 1}]
    labels = {one["name"]: one for one in values["labels"]}
    assert (labels["red"]["recall"], labels["green"]["images"], labels["green"]["average_precision"]) == (
        0.5,
        0,
        None,
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "is also <bdi>blue</bdi>" in page
    assert "gives all labels right on 0.0" in page

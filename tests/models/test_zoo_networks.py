"""Rows whose download is a whole ONNX network: pulled from a server on this machine, and imported as the row says."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models import zoo
from models.errors import ChecksumError, ModelError, WeightsError
from models.locating import locate, pull
from models.model import Model
from models.runtime import RuntimeConfig
from models.zoo import ZOO, ZooRow
from tests.models.nets import node, residual_net, save

ROWS = [row for row in ZOO if row.architecture is None]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files a server on this machine gives out."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        (folder / "url").write_text(f"http://127.0.0.1:{server.server_address[1]}", encoding="utf-8")
        yield folder
        server.shutdown()
        thread.join()


def small(folder: Path, row: ZooRow) -> Path:
    """A small network with the input and output of a row's."""
    path = folder / row.url.rpartition("/")[2]
    if row.layout == "nchw":
        batch = 1 if "shufflenet" in row.name or "squeezenet" in row.name else "N"
        return residual_net(path, classes=1000, end="logits", shape=(batch, 3, 224, 224))
    nodes = [
        node("ReduceMean", ["x", "axes"], ["means"], keepdims=0),
        node("MatMul", ["means", "w"], ["scores"]),
        node("Softmax", ["scores"], ["out"], axis=1),
    ]
    weights = {
        "axes": np.int64([1, 2]),
        "w": np.random.default_rng(1).standard_normal((3, 1000)).astype(np.float32),
    }
    return save(path, nodes, weights, shape=(1, 224, 224, 3))


def here(row: ZooRow, folder: Path, path: Path) -> ZooRow:
    """The row with what stands on this machine in place of its download."""
    url = f"{(folder / 'url').read_text(encoding='utf-8')}/{path.name}"
    return dataclasses.replace(row, url=url, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_network_is_pulled_and_takes_pixels_as_its_row_says(row: ZooRow, served: Path) -> None:
    path = small(served, row)
    model = Model.open(pull(here(row, served, path)), RuntimeConfig(device="cpu", threads=1))
    card = model.card
    assert (card.name, card.task, card.preprocessing) == (row.name, "classification", row.preprocessing)
    assert (card.accuracy, card.licence, card.description) == (row.accuracy, row.licence, row.description)
    assert (card.weights_sha256, card.batch_size) == (hashlib.sha256(path.read_bytes()).hexdigest(), None)
    assert card.labels[0].name == "tench, Tinca tinca"
    pixels = np.random.default_rng(2).integers(0, 256, (1, 224, 224, 3), np.uint8)
    # As the READMEs say it.
    fed = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    if row.name == "efficientnet_lite4":
        fed = (pixels.astype(np.float32) - [127, 127, 127]) / [128, 128, 128]
    fed = fed if row.layout == "nhwc" else fed.transpose(0, 3, 1, 2)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": fed.astype(np.float32)})[0]
    given = model.run(pixels, ["probabilities" if row.layout == "nhwc" else "logits"])[0]
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-4)


def test_the_name_is_enough(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = here(ROWS[0], served, small(served, ROWS[0]))
    monkeypatch.setitem(zoo.NAMES, row.name, row)
    path = locate(row.name)
    assert path == row.file
    (served / row.url.rpartition("/")[2]).unlink()
    assert locate(row.name) == path  # nothing is asked for again


def test_another_file_than_the_publishers_is_refused(served: Path) -> None:
    path = small(served, ROWS[0])
    row = dataclasses.replace(here(ROWS[0], served, path), sha256=ROWS[0].sha256)
    with pytest.raises(ChecksumError, match=f"expected {ROWS[0].sha256}"):
        pull(row)
    assert not row.file.exists()


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        pull(ROWS[0], weights=tmp_path / "weights.onnx")
    with pytest.raises(WeightsError, match="needs its ONNX file"):
        pull(dataclasses.replace(ROWS[0], url=""))

"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import tensorboard
from finetune.autodiff import Graph, Session
from finetune.tensorboard.writer import BINS
from models.errors import GraphError, NumericsError
from tests import optional

optional.library("tensorboardX", extra="tensorboard")
event_accumulator = optional.library("tensorboard.backend.event_processing.event_accumulator", extra="test")


def read(folder: Path) -> Any:
    accumulator = event_accumulator.EventAccumulator(str(folder), {"histograms": 0, "scalars": 0})
    return accumulator.Reload()


def test_scalars_come_back(tmp_path: Path) -> None:
    with tensorboard.Writer(tmp_path / "run"):
        for step in range(3):
            tensorboard.scalar("train/loss", np.float32(1 / (1 + step)), step)
        tensorboard.scalar("train/loss", np.array([[np.nan]]), 3)
    points = read(tmp_path / "run").Scalars("train/loss")
    assert [p.step for p in points] == [0, 1, 2, 3]
    np.testing.assert_allclose([p.value for p in points], [1, 1 / 2, 1 / 3, np.nan], rtol=1e-7)


def test_histograms_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 10))
    with tensorboard.Writer(tmp_path) as writer:
        writer.histogram("kernel", values, 7)
        writer.histogram("all the same", np.full(5, 2.0), 7)
        writer.histogram("nearly the same", [1.0, np.nextafter(1.0, 2.0)], 7)
    reader = read(tmp_path)
    (event,) = reader.Histograms("kernel")
    found = event.histogram_value
    assert (event.step, found.num) == (7, 300)
    np.testing.assert_allclose([found.min, found.max], [values.min(), values.max()])
    np.testing.assert_allclose([found.sum, found.sum_squares], [values.sum(), (values**2).sum()])
    counts, edges = np.histogram(values, BINS)
    assert list(found.bucket) == [0, *counts]
    np.testing.assert_allclose(found.bucket_limit, edges)
    for name, number in (("all the same", 5), ("nearly the same", 2)):
        assert sum(reader.Histograms(name)[0].histogram_value.bucket) == number


def test_the_graph_has_scopes_devices_and_shapes(tmp_path: Path) -> None:
    with Graph() as graph:
        x = graph.placeholder((None, 4), name="x")
        with graph.name_scope("dense"):
            kernel = graph.variable(np.ones((4, 3)), name="kernel")
            y = x @ kernel
    with tensorboard.Writer(tmp_path):
        tensorboard.graph(graph, device="cuda:1")
    nodes = {node.name: node for node in read(tmp_path).Graph().node}
    assert set(nodes) == {"x", "dense/kernel", "dense/matmul"}
    assert {node.device for node in nodes.values()} == {"/device:CUDA:1"}
    product = nodes[y.op.name]
    assert (product.op, list(product.input)) == ("matmul", ["x", "dense/kernel"])
    (shape,) = product.attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [-1, 3]
    assert nodes["x"].attr["dtype"].s == b"float32"


def test_a_placement_names_devices_one_by_one(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.placeholder((2,), name="x")
    y = x + x
    session = Session(graph, device="cpu")
    with tensorboard.Writer(tmp_path):
        tensorboard.graph(graph, device=session.placements(y, {x: [1.0, 2.0]}))
    devices = {node.name: node.device for node in read(tmp_path).Graph().node}
    assert devices == {"x": "", "add": "/device:CPU:0"}


def test_two_writers_of_one_moment_keep_apart(tmp_path: Path) -> None:
    with tensorboard.Writer(tmp_path / "a") as outer, tensorboard.Writer(tmp_path / "a") as inner:
        outer.scalar("outer", 1.0, 0)
        tensorboard.scalar("inner", 2.0, 0)
        inner.flush()
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_a_tensor_without_a_value_is_refused(tmp_path: Path) -> None:
    x = Graph().placeholder((2,), name="x")
    with (
        tensorboard.Writer(tmp_path),
        pytest.raises(GraphError, match=r"loss: x has no value while the graph is built; fetch it"),
    ):
        tensorboard.scalar("loss", x, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda w: w.scalar("loss", [1.0, 2.0], 0), GraphError, r"loss: expected one number, got \(2,\)"),
        (lambda w: w.scalar("loss", "low", 0), GraphError, "loss: expected numbers, got <U3"),
        (lambda w: w.histogram("w", [], 0), GraphError, "w: no numbers; expected at least one"),
        (
            lambda w: w.histogram("w", [1, np.inf], 4),
            NumericsError,
            "w, step 4: 1 of 2 numbers are NaN or inf",
        ),
    ],
)
def test_what_cannot_be_shown_is_said(
    tmp_path: Path, call: Any, error: type[Exception], message: str
) -> None:
    with tensorboard.Writer(tmp_path) as writer, pytest.raises(error, match=message):
        call(writer)


def test_without_a_writer(tmp_path: Path) -> None:
    with tensorboard.Writer(tmp_path):
        pass
    with pytest.raises(GraphError, match=r"no summary writer: write `with tensorboard\.Writer\(folder\):`"):
        tensorboard.scalar("loss", 1.0, 0)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GraphError, match="file: no event file can be written there"):
        tensorboard.Writer(tmp_path / "file")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)  # so that its import fails
    with pytest.raises(GraphError, match=r"not installed: pip install '\.\[tensorboard\]'"):
        tensorboard.Writer(tmp_path)

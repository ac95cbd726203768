"""Where weights stand in memory: so that a step on the CPU moves none of them about."""

from __future__ import annotations

import numpy as np

from finetune.autodiff import Graph, Operation, Session, Tensor, placeholder, variable
from finetune.autodiff.layers import conv2d
from finetune.autodiff.optimizers import Momentum


def nodes(train: Operation, feeds: dict[Tensor, np.ndarray]) -> list[str]:
    """ONNX types of a training step's nodes on the CPU, before onnxruntime changes them."""
    session = Session(train.graph, "cpu")
    session.run(train, feeds)
    (executable,) = session._compiled.values()
    return [node.op_type for node in executable.program.model.graph.node]


def test_transposed_weights_of_a_product_are_kept_as_they_are_read() -> None:
    with Graph():
        x, w = placeholder((None, 4), name="x"), variable(np.ones((3, 4)), name="w")
        train = Momentum(0.1).minimize((x @ w.T).mean())
    assert "Transpose" not in nodes(train, {x: np.ones((2, 4), np.float32)})


def test_convolutions_lay_out_pixels_with_one_gather_and_move_no_weights() -> None:
    with Graph():
        x = placeholder((None, 8, 6, 6), name="x")
        train = Momentum(0.1).minimize(conv2d(x, 8, 3, padding="VALID").sum())
    found = nodes(train, {x: np.ones((2, 8, 6, 6), np.float32)})
    assert found.count("Gather") == 1  # the result and the gradient of the weights share it
    assert found.count("Transpose") == 2  # of the images, and of the gradient that comes back


def test_a_bias_is_summed_over_the_batch_first() -> None:
    with Graph():
        x = placeholder((None, 8, 6, 6), name="x")
        train = Momentum(0.1).minimize(conv2d(x, 8, 3).sum())
    found = nodes(train, {x: np.ones((2, 8, 6, 6), np.float32)})
    assert found.count("ReduceSum") == 4  # the loss, whether it is finite, the bias in two


def test_images_of_one_channel_are_laid_out_once_by_slices() -> None:
    with Graph():
        x = placeholder((None, 1, 6, 6), name="x")
        train = Momentum(0.1).minimize(conv2d(x, 8, 3).sum())
    found = nodes(train, {x: np.ones((2, 1, 6, 6), np.float32)})
    assert "Conv" not in found
    assert (
        found.count("Slice") == 6
    )  # three across, three down; the result and the gradient of the weights share them
    assert (
        found.count("Transpose") == 3
    )  # of the images, of the gradient that comes back, of the weights' gradient


def test_a_step_keeps_no_second_block_of_memory() -> None:
    with Graph():
        x = placeholder((None, 4), name="x")
        train = Momentum(0.1).minimize((x @ variable(np.ones((4, 3)), name="w")).mean())
    session = Session(train.graph, "cpu")
    session.run(train, {x: np.ones((2, 4), np.float32)})
    (executable,) = session._compiled.values()
    assert not executable.runtime.get_session_options().enable_mem_pattern


def test_memory_that_begins_with_one_number_takes_no_room() -> None:
    with Graph() as graph:
        x = placeholder((None, 4), name="x")
        train = Momentum(0.1).minimize((x @ variable(np.ones((4, 3)), name="w")).mean())
    velocity = next(v for v in graph.variables if v.name.endswith("velocity"))
    assert velocity.initial.shape == (4, 3)
    assert velocity.initial.strides == (0, 0)
    session = Session(graph, "cpu")
    session.run(train, {x: np.ones((2, 4), np.float32)})
    assert not velocity.initial.any()
    np.testing.assert_allclose(session.value(velocity), np.full((4, 3), 1 / 3), rtol=1e-6)

"""Which axes hold channels and which places, followed through the operators that move them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from models.axes import Atom, Axis, axis, regrouped
from models.layout import Layout, Layouts, layouts_of
from models.loading import load
from tests.models.nets import draw, nhwc_net, node, residual_net, save, token_net

NCHW = Layout(1, (2, 3), (8, 16))


def layouts(tmp_path: Path, nodes: list[NodeProto], **weights: Any) -> Layouts:
    """Of what follows a map `m`, (N, 6, 8, 16)."""
    first = node("Conv", ["x", "w"], ["m"])
    weights = {"w": draw(1, 6, 3, 1, 1), **weights}
    return layouts_of(load(str(save(tmp_path / "n.onnx", [first, *nodes], weights, shape=("N", 3, 8, 16)))))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_maps_of_convolutions(tmp_path: Path) -> None:
    made = layouts_of(load(str(residual_net(tmp_path / "net.onnx"))))
    assert made.places["block"] == Layout(1, (2, 3), (16, 16))
    assert {"gap", "flat"} <= made.vectors
    assert made.shapes["gap"] == (8, 1, 1)


def test_maps_with_the_channels_last(tmp_path: Path) -> None:
    made = layouts_of(load(str(nhwc_net(tmp_path / "net.onnx"))))
    assert made.places["block"] == Layout(3, (1, 2), (8, 16))
    assert made.places["c1"] == Layout(1, (2, 3), (8, 16))
    assert "mean" in made.vectors  # (N, 1, 1, 8) is no map
    assert "mean" not in made.places


def test_tokens_with_a_class_token(tmp_path: Path) -> None:
    made = layouts_of(load(str(token_net(tmp_path / "net.onnx"))))
    assert made.places["rows"] == Layout(1, (2,), (4, 4))
    assert made.places["tokens"] == Layout(2, (1,), (4, 4))
    assert made.places["block"] == Layout(2, (1,), (4, 4), before=1)
    assert made.places["hidden"] == made.places["block"]
    assert "read" in made.vectors
    assert "scores" not in made.places  # tokens by tokens


def test_windows_and_back(tmp_path: Path) -> None:
    """As in Swin: 4 x 4 windows, of which none is an image, and the map again."""
    made = layouts(
        tmp_path,
        [
            node("Transpose", ["m"], ["nhwc"], perm=[0, 2, 3, 1]),
            node("Reshape", ["nhwc", "apart"], ["six"]),
            node("Transpose", ["six"], ["sorted"], perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", ["sorted", "windows"], ["windowed"]),
            node("MatMul", ["windowed", "v"], ["layer"]),
            node("Reshape", ["layer", "back"], ["six_again"]),
            node("Transpose", ["six_again"], ["sorted_back"], perm=[0, 1, 3, 2, 4, 5]),
            node("Reshape", ["sorted_back", "map"], ["out"]),
        ],
        apart=ints(-1, 2, 4, 4, 4, 6), windows=ints(-1, 16, 6), v=draw(2, 6, 6), back=ints(-1, 2, 4, 4, 4, 6),
        map=ints(-1, 8, 16, 6),
    )  # fmt: skip
    assert made.places["nhwc"] == made.places["out"] == Layout(3, (1, 2), (8, 16))
    assert "windowed" not in made.places
    assert "layer" not in made.places


@pytest.mark.parametrize(
    ("nodes", "weights", "expected"),
    [
        ([node("Transpose", ["m"], ["out"], perm=[0, 1, 3, 2])], {}, None),  # rows and columns exchanged
        ([node("Slice", ["m", "s", "e", "a", "t"], ["out"])],
         {"s": ints(-1), "e": ints(-99), "a": ints(2), "t": ints(-1)}, None),  # upside down
        ([node("Slice", ["m", "s", "e", "a", "t"], ["out"])],
         {"s": ints(0), "e": ints(8), "a": ints(2), "t": ints(2)}, Layout(1, (2, 3), (4, 16))),
        ([node("Gather", ["m", "i"], ["out"], axis=3)], {"i": ints(3, 1, 2)}, None),  # columns in disorder
        ([node("Gather", ["m", "i"], ["out"], axis=1)], {"i": ints(3, 1, 2)}, NCHW),
        ([node("Reshape", ["m", "i"], ["out"])], {"i": ints(-1, 48, 4, 4)}, None),  # channels and rows in one
        ([node("Reshape", ["m", "i"], ["t"]), node("Reshape", ["t", "j"], ["out"])],
         {"i": ints(-1, 6, 128), "j": ints(-1, 6, 8, 16)}, NCHW),
        ([node("Reshape", ["m", "i"], ["t"]), node("Reshape", ["t", "j"], ["out"])],
         {"i": ints(-1, 6, 128), "j": ints(-1, 6, 16, 8)}, None),  # lines of another length
        ([node("Reshape", ["m", "i"], ["t"]), node("Transpose", ["t"], ["u"], perm=[0, 2, 1, 3, 4]),
          node("Reshape", ["u", "j"], ["out"])], {"i": ints(-1, 2, 3, 8, 16), "j": ints(-1, 6, 8, 16)}, NCHW),
        ([node("Concat", ["m", "m"], ["out"], axis=1)], {}, NCHW),
        ([node("Mul", ["m", "g"], ["out"])], {"g": draw(3, 1, 6, 1, 1)}, NCHW),
        ([node("Einsum", ["m", "e"], ["out"], equation="nchw,cd->nhwd")], {"e": draw(3, 6, 6)},
         Layout(3, (1, 2), (8, 16))),
        ([node("GlobalAveragePool", ["m"], ["out"])], {}, None),
        ([node("ReduceMean", ["m", "i"], ["out"], keepdims=0)], {"i": ints(1)}, None),  # no channels are left
        ([node("NonZero", ["m"], ["out"])], {}, None),
    ],
    ids=["turned", "upside down", "every other row", "columns in disorder", "channels in disorder", "mixed",
         "tokens and back",
         "other lines", "shuffled channels", "joined", "stretched", "einsum", "pooled", "mean of channels", "unknown"],
)  # fmt: skip
def test_what_operators_do(
    tmp_path: Path, nodes: list[NodeProto], weights: dict[str, Any], expected: Layout | None
) -> None:
    assert layouts(tmp_path, nodes, **weights).places.get("out") == expected


def test_layers_over_places_keep_tokens_without_their_order(tmp_path: Path) -> None:
    """As in an MLP-Mixer: the sum with the shortcut has the order again."""
    made = layouts(
        tmp_path,
        [
            node("Reshape", ["m", "i"], ["t"]),
            node("MatMul", ["t", "v"], ["mixed"]),
            node("Add", ["t", "mixed"], ["out"]),
        ],
        i=ints(-1, 6, 128), v=draw(2, 128, 128),
    )  # fmt: skip
    assert made.places["mixed"] == Layout(1, (2,), None)
    assert made.places["out"] == Layout(1, (2,), (8, 16))


def test_maps_of_one_image(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", shape=(1, 3, 32, 32))
    assert layouts_of(load(str(path))).places["block"] == Layout(1, (2, 3), (16, 16))


def test_as_maps_leaves_out_what_stands_beside() -> None:
    tokens = np.arange(2 * 7 * 3).reshape(2, 7, 3)  # a class token, 2 x 3 places
    maps = Layout(2, (1,), (2, 3), before=1).as_maps(tokens)
    assert maps.shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(maps[1, 2].ravel(), tokens[1, 1:, 2])


def test_reshaping_splits_and_joins() -> None:
    rows, columns = axis("H", 6), axis("W", 4)
    (tokens,) = regrouped([rows, columns], [24])
    assert (tokens.letter, tokens.grid) == ("T", (6, 4))
    assert regrouped([tokens], [6, 4]) == (rows, columns)
    halves = regrouped([rows], [2, 3])
    assert halves == (Axis((Atom("H", 2, (0,)),)), Axis((Atom("H", 3, (1,)),)))
    assert Axis((*halves[1].atoms, *halves[0].atoms)).grid is None
    assert [each.letter for each in regrouped([tokens], [5, 5])] == ["?", "?"]

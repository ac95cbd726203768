"""What every path crosses, and what the classifier reads: the endings of the published networks, small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto

from models.anatomy import crossings
from models.card import Label, card_of
from models.features import FeatureOptions, default_cuts, feature_graph
from models.importing import ImportOptions, import_model
from models.runtime import OnnxSession, RuntimeConfig
from models.truncation import list_cuts
from tests.models.nets import draw, nhwc_net, node, residual_net, save, token_net

CPU = RuntimeConfig(device="cpu", threads=1)
PIXELS = np.random.default_rng(5).integers(0, 256, (3, 16, 16, 3), np.uint8)


def imported(path: Path) -> ModelProto:
    labels = tuple(Label(str(i), f"class {i}") for i in range(5))
    return import_model(path, ImportOptions(scale="0..1", labels=labels))[0]


def network(tmp_path: Path, nodes: list[NodeProto], **weights: Any) -> ModelProto:
    """Imported, with a layer that makes a map `m` (N, 8, 8, 8) before `nodes`, which end in `out`."""
    first = [
        node("Conv", ["x", "stem"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["m"]),
    ]
    weights = {"stem": draw(1, 8, 3, 3, 3), "w": draw(2, 8, 5), "b": draw(3, 5), **weights}
    return imported(save(tmp_path / "net.onnx", [*first, *nodes], weights, shape=("N", 3, 16, 16)))


def values(model: ModelProto, *names: str) -> list[np.ndarray]:
    """Tensors of a network for PIXELS."""
    whole = ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(type(model.graph.output[0])(name=name) for name in names) if names else None
    return OnnxSession(whole.SerializeToString(), CPU).run({"image": PIXELS})


def features(model: ModelProto) -> np.ndarray:
    cut = feature_graph(model, default_cuts(model), FeatureOptions())
    return OnnxSession(cut.SerializeToString(), CPU).run({"image": PIXELS})[0]


GAP = [node("GlobalAveragePool", ["m"], ["gap"]), node("Flatten", ["gap"], ["flat"])]
LAYER = [node("MatMul", ["flat", "w"], ["product"]), node("Add", ["b", "product"], ["out"])]
HIDDEN = [
    node("GlobalAveragePool", ["m"], ["gap"]),
    node("Conv", ["gap", "hidden"], ["h"]),
    node("HardSwish", ["h"], ["act"]),
    node("Flatten", ["act"], ["flat"]),
    node("Dropout", ["flat"], ["dropped"]),
    node("Gemm", ["dropped", "wide", "b"], ["out"]),
]
NORM = [
    *GAP,
    node("LayerNormalization", ["flat", "one"], ["normed"], axis=-1),
    node("Gemm", ["normed", "w", "b"], ["out"]),
]
SQUEEZE = [
    node("Conv", ["m", "classes"], ["c2"]),
    node("Relu", ["c2"], ["scores"]),
    node("GlobalAveragePool", ["scores"], ["gap"]),
    node("Flatten", ["gap"], ["out"]),
]
EXCITED = [
    node("GlobalAveragePool", ["m"], ["squeeze"]),
    node("Conv", ["squeeze", "hidden8"], ["excite"]),
    node("Sigmoid", ["excite"], ["gate"]),
    node("Mul", ["m", "gate"], ["scaled"]),
    node("Conv", ["scaled", "hidden8"], ["last"]),
    node("ReduceMean", ["last", "places"], ["mean"], keepdims=0),
    node("Gemm", ["mean", "w", "b"], ["out"]),
]
DECOMPOSED = [
    *GAP,
    node("ReduceMean", ["flat", "axis"], ["mean"], keepdims=1),
    node("Sub", ["flat", "mean"], ["centred"]),
    node("Mul", ["centred", "centred"], ["square"]),
    node("ReduceMean", ["square", "axis"], ["variance"], keepdims=1),
    node("Sqrt", ["variance"], ["deviation"]),
    node("Div", ["centred", "deviation"], ["normed"]),
    node("Gemm", ["normed", "w", "b"], ["out"]),
]
FLAT = [node("Flatten", ["m"], ["flat"]), node("Gemm", ["flat", "all", "b"], ["out"])]
HEADS = [
    *GAP,
    node("Relu", ["flat"], ["one_side"]),
    node("Neg", ["flat"], ["other_side"]),
    node("Gemm", ["one_side", "w", "b"], ["first"]),
    node("Gemm", ["other_side", "w2", "b"], ["second"]),
    node("Add", ["first", "second"], ["both"]),
    node("Div", ["both", "two"], ["out"]),
]
NORMED_HEADS = [
    *GAP,
    node("BatchNormalization", ["flat", "one", "zero", "zero", "one"], ["bn1"]),
    node("BatchNormalization", ["flat", "zero", "one", "zero", "one"], ["bn2"]),
    node("Gemm", ["bn1", "w", "b"], ["first"]),
    node("Gemm", ["bn2", "w2", "b"], ["second"]),
    node("Add", ["first", "second"], ["both"]),
    node("Div", ["both", "two"], ["out"]),
]
WEIGHTS = {
    "hidden": draw(4, 12, 8, 1, 1), "wide": draw(5, 12, 5), "one": np.ones(8, np.float32),
    "zero": np.zeros(8, np.float32), "classes": draw(6, 5, 8, 1, 1), "hidden8": draw(7, 8, 8, 1, 1),
    "places": np.array([2, 3]), "axis": np.array([-1]), "all": draw(8, 512, 5), "w2": draw(9, 8, 5),
    "two": np.array(2, np.float32),
}  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "cut", "width"),
    [
        ([*GAP, *LAYER], "pool", 8),
        (HIDDEN, "act", 12),
        (NORM, "normed", 8),
        (SQUEEZE, "m", 8),
        (EXCITED, "pool", 8),
        (DECOMPOSED, "normed", 8),
        (FLAT, "flat", 512),
        (HEADS, "pre_logits", 8),
        (NORMED_HEADS, "pool", 8),
    ],
    ids=["ResNet", "MobileNetV3", "ConvNeXt", "SqueezeNet", "SENet", "decomposed norm", "LeNet", "DeiT", "LeViT"],
)  # fmt: skip
def test_default_features_are_what_the_classifier_reads(
    tmp_path: Path, nodes: list[NodeProto], cut: str, width: int
) -> None:
    model = network(tmp_path, nodes, **WEIGHTS)
    assert default_cuts(model) == (cut,)
    assert features(model).shape == (3, width)


def test_a_squeeze_is_not_the_pool(tmp_path: Path) -> None:
    model = network(tmp_path, EXCITED, **WEIGHTS)
    (last,) = values(model, "last")
    np.testing.assert_allclose(features(model), last.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_features_of_class_scores_are_those_before_them(tmp_path: Path) -> None:
    model = network(tmp_path, SQUEEZE, **WEIGHTS)
    (maps,) = values(model, "m")
    np.testing.assert_allclose(features(model), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_features_of_two_heads_are_the_mean_of_what_they_read(tmp_path: Path) -> None:
    model = network(tmp_path, HEADS, **WEIGHTS)
    one, other = values(model, "one_side", "other_side")
    np.testing.assert_allclose(features(model), (one + other) / 2, rtol=1e-5, atol=1e-6)


def test_maps_with_the_channels_last_are_pooled_over_places(tmp_path: Path) -> None:
    model = imported(nhwc_net(tmp_path / "net.onnx"))
    pixels = np.random.default_rng(5).integers(0, 256, (3, 32, 32, 3), np.uint8)
    results = []
    for cut in ("block", "pool"):
        graph = feature_graph(model, (cut,), FeatureOptions())
        results.append(OnnxSession(graph.SerializeToString(), CPU).run({"image": pixels})[0])
    assert results[0].shape == (3, 8)
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


def test_a_pool_that_an_earlier_import_named_is_kept(tmp_path: Path) -> None:
    model = network(tmp_path, HIDDEN, **WEIGHTS)
    card = card_of(model)
    assert card is not None
    assert [cut.name for cut in card.cuts] == ["gap", "act"]
    old = network(tmp_path, [*GAP, *LAYER], **WEIGHTS)
    assert default_cuts(old) == ("pool",)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (residual_net, [("block", (8, 16, 16)), ("pool", (8,))]),
        (nhwc_net, [("block", (8, 16, 8)), ("pool", (8,))]),
        (token_net, [("mixed", (17, 8)), ("block", (17, 8)), ("read", (8,))]),
    ],
)  # fmt: skip
def test_cuts_are_where_all_paths_meet(tmp_path: Path, make: Any, expected: list[Any]) -> None:
    cuts = list_cuts(imported(make(tmp_path / "net.onnx")))
    assert [(cut.name, cut.shape) for cut in cuts] == expected


def test_a_plain_sequence_is_cut_before_each_layer(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["m", "hidden8"], ["c2"]),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p2"], ["row"]),
        node("Gemm", ["row", "down"], ["fc"]),
        node("Relu", ["fc"], ["r3"]),
        node("Gemm", ["r3", "w", "b"], ["out"]),
    ]
    model = network(tmp_path, nodes, **WEIGHTS, down=draw(3, 128, 8))
    shapes = {cut.name: cut.shape for cut in list_cuts(model)}
    assert shapes.pop("m") == (8, 8, 8)
    assert shapes == {"row": (128,), "r3": (8,)}
    assert default_cuts(model) == ("r3",)


def test_crossings_leave_out_what_a_shortcut_passes_by(tmp_path: Path) -> None:
    crossed = crossings(imported(residual_net(tmp_path / "net.onnx")), ["logits"])
    assert [name for name in crossed if "graft" not in name] == ["c1", "r1", "block", "pool", "flat", "raw"]


@pytest.mark.parametrize("end", ["norm", "length", "flat", "layer"])
def test_features_of_a_network_without_classes_are_what_it_gives(tmp_path: Path, end: str) -> None:
    """A norm behind the mean is part of them, as in EVA; behind a layer, the mean counts, as before a classifier."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[4, 4]),
        node("GlobalAveragePool", ["c"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
    ]
    nodes += {
        "norm": [node("LayerNormalization", ["flat", "scale", "shift"], ["out"])],
        "length": [node("ReduceL2", ["flat", "rows"], ["long"]), node("Div", ["flat", "long"], ["out"])],
        "flat": [node("Identity", ["flat"], ["out"])],
        "layer": [node("MatMul", ["flat", "head"], ["out"])],
    }[end]
    weights = {
        "w": draw(1, 8, 3, 4, 4),
        "scale": np.linspace(1, 2, 8, dtype=np.float32),
        "shift": draw(2, 8),
        "rows": np.int64([1]),
        "head": draw(3, 8, 8),
    }
    path = save(tmp_path / "net.onnx", nodes, weights, shape=("N", 3, 16, 16))
    model, _ = import_model(path, ImportOptions(task="features"))
    wanted = "pool" if end == "layer" else model.graph.output[0].name
    np.testing.assert_allclose(features(model), values(model, wanted)[0].reshape(3, 8), rtol=1e-5, atol=1e-6)

"""Fine-tuned models that anyone can check by eye: the mean colour of an image, and a linear layer behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from finetune.heads.assembly import assemble
from finetune.heads.top import Top
from finetune.trust.reference import fit_reference
from finetune.trust.rejection import Rejector
from models.card import Label, ModelCard, Target
from models.names import EMBEDDING, FEATURES, LOGITS, VALUE
from models.opset import IR_VERSION, opset_imports
from models.preprocessing import Preprocessing
from tests.fixtures import COLOURS, tiny_classifier

WEIGHTS = (6 * np.eye(3)).astype(np.float32)  # (3 colours, 3 classes)
TEMPERATURE = 2.0
HALF_WIDTH = 0.25
# The squared distance to the nearest of red, green and blue, all of length 1, above which a colour is none of them:
# grey has 2 - 2 / sqrt(3) = 0.845.
THRESHOLD = 0.3
CARD = ModelCard(
    "colours", "classification", Preprocessing((1, 1)), labels=tuple(Label(n, n) for n in COLOURS)
)
REDNESS = ModelCard(
    "redness", "regression", Preprocessing((1, 1)), target=Target("redness", "%", HALF_WIDTH, 0.9)
)


def linear_top(weights: NDArray[np.float32] = WEIGHTS, *, regression: bool = False) -> Top:
    """features (N, D) -> embedding, the same -> logits or value."""
    width, classes = weights.shape
    nodes = [
        helper.make_node("Identity", [FEATURES], [EMBEDDING], name=EMBEDDING),
        helper.make_node(
            "MatMul", [EMBEDDING, "weights"], ["column" if regression else LOGITS], name="dense"
        ),
    ]
    constants = [numpy_helper.from_array(weights, "weights")]
    last = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes])
    if regression:
        nodes.append(helper.make_node("Reshape", ["column", "flat"], [VALUE], name=VALUE))
        constants.append(numpy_helper.from_array(np.array([-1]), "flat"))
        last = helper.make_tensor_value_info(VALUE, TensorProto.FLOAT, ["N"])
    rows = ["N", width]
    graph = helper.make_graph(
        nodes,
        "top",
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, rows), last],
        constants,
    )
    return Top(helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION))


def rejector() -> Rejector:
    """Everything that is far from pure red, green and blue is none of them."""
    arrays = {"mean": np.zeros(3), "project": np.eye(3), "known": np.eye(3)}
    return Rejector(
        "mahalanobis", {k: v.astype(np.float32) for k, v in arrays.items()}, THRESHOLD, 0.9, "by eye", 1.0
    )


def trunk(folder: Path) -> ModelProto:
    """The network whose `pool` is the mean colour."""
    return onnx.load(tiny_classifier(folder / "trunk.onnx"))


def tuned_classifier(folder: Path) -> Path:
    """Write a classifier with temperature and reject score."""
    path = folder / "tuned.onnx"
    model = assemble(trunk(folder), "pool", linear_top(), CARD, temperature=TEMPERATURE, rejector=rejector())
    path.write_bytes(model.SerializeToString())
    return path


def shades(random: np.random.Generator, count: int, spread: float = 12.0) -> NDArray[np.uint8]:
    """Mean colours of photos, uint8 (count, 3): reds, greens and blues, each a little different."""
    pure = np.array(list(COLOURS.values()))[random.integers(3, size=count)] * 0.7 + 30
    return (pure + random.normal(0, spread, (count, 3))).clip(0, 255).round().astype(np.uint8)


def described_classifier(folder: Path, regression: bool = False) -> Path:
    """Write a model whose file tells of the shades that it was taught with."""
    random = np.random.default_rng(0)
    train, held = shades(random, 300) / np.float32(255), shades(random, 200) / np.float32(255)
    answers = None if regression else (held @ WEIGHTS).argmax(axis=1)
    described = fit_reference(train, held, answers, 3, "validation images")
    weights, card = (WEIGHTS[:, :1], REDNESS) if regression else (WEIGHTS, CARD)
    top = linear_top(weights, regression=regression)
    path = folder / "described.onnx"
    path.write_bytes(assemble(trunk(folder), "pool", top, card, described=described).SerializeToString())
    return path


def tuned_regression(folder: Path) -> Path:
    """Write a regression: the share of red, in percent."""
    path = folder / "redness.onnx"
    weights = np.array([[100.0], [0.0], [0.0]], np.float32)
    model = assemble(trunk(folder), "pool", linear_top(weights, regression=True), REDNESS)
    path.write_bytes(model.SerializeToString())
    return path

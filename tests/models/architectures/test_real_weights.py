"""Our InceptionV3 with Google's weights of 2015 against the graph in which they came, on a photograph.

That graph ends at `mixed_7a`, has batch norm folded in, and pools as Keras does. The weights above it are random,
and not compared.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from skimage import data

from models.architectures.inception_v3 import inception_v3
from models.build import build
from models.preprocessing import Preprocessing
from models.weights.random import random_weights
from scripts.golden.seeded import BLOCKS
from tests import optional
from tests.models.running import run

CUTS = tuple(f"mixed_{block}" for block in BLOCKS if block <= "7a")
HALF = (0.5, 0.5, 0.5)


def place(node: onnx.NodeProto) -> list[int]:
    """Where a convolution stands in our order: stem or block, number of the block, branch, position in it."""
    parts = re.fullmatch(r"(mixed)?_?(\d+)?_?(tower)?_?(\d+)?_?conv_?(\d+)?/conv", node.name)
    assert parts is not None, node.name
    return [1 if part in ("mixed", "tower") else int(part or 0) for part in parts.groups()]


@pytest.mark.parametrize("fold", [True, False])
def test_real_weights_on_a_photograph(fold: bool) -> None:
    trunk = onnx.load(optional.pretrained("inception_v3_2015_trunk.onnx"))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in trunk.graph.initializer}
    nodes = sorted((node for node in trunk.graph.node if node.op_type == "Conv"), key=place)
    network = inception_v3(variant="keras")
    weights = random_weights(network)
    layers = [layer.name for layer in network.layers if layer.op == "conv"]
    for layer, node in zip(layers, nodes, strict=False):
        _, kernel, bias = node.input
        ones, zeros = np.ones_like(values[bias]), np.zeros_like(values[bias])
        weights[f"{layer}.conv.weight"] = values[kernel]
        norm = {"weight": ones, "bias": values[bias], "running_mean": zeros, "running_var": ones - 1e-3}
        weights |= {f"{layer}.bn.{part}": tensor for part, tensor in norm.items()}

    pixels = Preprocessing((299, 299), "squash").load(data.chelsea())[None]
    ours = run(build(network, weights, mean=HALF, std=HALF, fold=fold), pixels, CUTS)

    planes = ((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)  # (N, H, W, C) to (N, C, H, W)
    theirs = run(trunk, planes.astype(np.float32), CUTS)
    for cut in CUTS:
        error = np.abs(ours[cut] - theirs[cut]).max() / np.sqrt(np.mean(theirs[cut] ** 2))
        assert error < 1e-4, (cut, error)

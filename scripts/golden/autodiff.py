"""The networks on which the autodiff graph is compared with PyTorch, as graphs; what both sides make from the seed.

Needs no PyTorch: the tests import it too. Weights carry the names of the PyTorch modules in `autodiff_torch`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff import Graph, Tensor, Variable, placeholder, variable
from finetune.autodiff.importing import import_onnx
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu, relu6
from finetune.autodiff.ops.convolution import conv2d
from finetune.autodiff.ops.normalisation import batch_norm
from finetune.autodiff.ops.pooling import global_avg_pool
from finetune.autodiff.ops.windows import Padding
from finetune.autodiff.optimizers import Adam, Momentum, Optimizer
from models.architectures.inception_v3 import inception_v3
from models.build import build
from models.weights.random import kind_of, random_tensor, random_weights, uniform

Array = NDArray[Any]
FOLDER = Path(__file__).parents[2] / "tests" / "finetune" / "autodiff" / "golden"
SEED, STEPS, SAMPLES, DIRECTIONS = 2015, 10, 64, 4
MOBILENET, MOBILENET_CUT, MOBILENET_LOGITS = "mobilenet_v2_1.0_224.onnx", "t140", "t172"  # in $GRAFT_MODELS


@dataclass(frozen=True)
class Network:
    """A network in the current graph; `variables` by the names of the PyTorch module."""

    x: Tensor
    logits: Tensor
    variables: dict[str, Variable]


@dataclass(frozen=True)
class Case:
    """A network, its batch, loss and optimizer. `shape`: of the batch, (N, C, H, W).

    `private`: its weights are not ours to write down. It is compared by projections, which do not tell them.
    """

    build: Callable[[], Network]
    shape: tuple[int, int, int, int]
    classes: int
    optimizer: Callable[[], Optimizer]
    label_smoothing: float = 0.0
    private: bool = False

    def samples(self, name: str, value: Array) -> Array:
        """What is looked at of the flattened tensor `name`, each about as large as an element of it."""
        if not self.private:
            return value[places(name, value.size)]
        rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        directions = (rng.standard_normal(value.size) for _ in range(DIRECTIONS))
        return np.asarray([value @ d / np.linalg.norm(d) for d in directions])

    def batch(self) -> tuple[Array, Array]:
        """Images or feature maps, none below 0, and labels."""
        x = np.abs(uniform("batch", self.shape, SEED))
        return x, np.arange(self.shape[0], dtype=np.int64) * 7 % self.classes


def weight(name: str, shape: tuple[int, ...]) -> Array:
    """The seeded weight `name`."""
    return random_tensor(kind_of(name), name, shape, SEED)


def places(name: str, size: int) -> NDArray[np.int64]:
    """Which elements of a flattened weight are looked at."""
    unit = (uniform(f"places/{name}", (SAMPLES,), SEED).astype(np.float64) + 1) / 2
    return np.floor(unit * size).astype(np.int64)


def loss_of(case: Case, network: Network) -> tuple[Tensor, Tensor]:
    """The placeholder of the labels, and the loss."""
    y = placeholder((None,), np.int64, name="labels")
    return y, softmax_cross_entropy(network.logits, y, case.label_smoothing)


def inception_top(fold: bool) -> Network:
    """Mixed_7c, pool and fc of InceptionV3, imported; not folded, batch norm has frozen statistics."""
    blueprint = inception_v3()
    model = build(blueprint, random_weights(blueprint, SEED), mean=[0.5] * 3, std=[0.5] * 3, fold=fold)
    top = import_onnx(model, "mixed_7b", outputs=["logits"])
    return Network(top.input, top.logits, dict(top.variables))


class _Named:
    """Makes seeded variables and remembers them by name."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}

    def __call__(self, name: str, *shape: int, trainable: bool = True) -> Variable:
        self.variables[name] = variable(weight(name, shape), name=name, trainable=trainable)
        return self.variables[name]

    def conv(
        self,
        x: Tensor,
        name: str,
        shape: tuple[int, int, int, int],
        stride: int = 1,
        groups: int = 1,
        padding: Padding = "SAME",
        bias: bool = True,
    ) -> Tensor:
        """A convolution, with a bias or without."""
        y = conv2d(x, self(f"{name}.weight", *shape), stride, padding, groups=groups)
        return y + self(f"{name}.bias", shape[0]).reshape(-1, 1, 1) if bias else y

    def norm(self, x: Tensor, name: str, channels: int) -> Tensor:
        """A batch norm."""
        gamma, beta = self(f"{name}.weight", channels), self(f"{name}.bias", channels)
        mean = self(f"{name}.running_mean", channels, trainable=False)
        return batch_norm(
            x, gamma, beta, mean, self(f"{name}.running_var", channels, trainable=False), momentum=0.9
        )

    def dense(self, x: Tensor, name: str, classes: int, features: int) -> Tensor:
        """A dense layer whose weights stand as PyTorch keeps them, (classes, features)."""
        return x @ self(f"{name}.weight", classes, features).T + self(f"{name}.bias", classes)


def mobile() -> Network:
    """The building blocks of MobileNetV2: depthwise convolutions, clipping at 6, SAME padding that is uneven."""
    w = _Named()
    x = placeholder((None, 3, 16, 16), name="images")
    y = relu6(w.conv(x, "stem", (8, 3, 3, 3), stride=2))  # (N, 8, 8, 8)
    for block, stride in (("block1", 1), ("block2", 2)):
        inner = relu6(w.conv(y, f"{block}.expand", (32, 8, 1, 1)) * 8.0)  # some of them reach 6
        inner = relu6(w.conv(inner, f"{block}.depthwise", (32, 1, 3, 3), stride, groups=32))
        inner = w.conv(inner, f"{block}.project", (8, 32, 1, 1))
        y = y + inner if stride == 1 else inner
    return Network(x, w.dense(global_avg_pool(y), "fc", 10, 8), w.variables)


def mobilenet_top() -> Network:
    """The last four blocks of the real MobileNetV2, pool and logits, imported with their weights.

    The first of them has stride 2 and uneven SAME padding.
    """
    path = Path(os.environ["GRAFT_MODELS"]) / MOBILENET
    top = import_onnx(path, MOBILENET_CUT, outputs=[MOBILENET_LOGITS])
    return Network(top.input, top.outputs[MOBILENET_LOGITS], dict(top.variables))


def residual() -> Network:
    """A small residual network with batch norm in training mode."""
    w = _Named()
    x = placeholder((None, 3, 16, 16), name="images")
    y = relu(w.norm(w.conv(x, "conv1", (8, 3, 3, 3), bias=False), "conv1.bn", 8))
    for block, channels, filters, stride in (("layer1", 8, 8, 1), ("layer2", 8, 16, 2)):
        inner = w.conv(y, f"{block}.conv1", (filters, channels, 3, 3), stride, padding=1, bias=False)
        inner = relu(w.norm(inner, f"{block}.conv1.bn", filters))
        inner = w.conv(inner, f"{block}.conv2", (filters, filters, 3, 3), padding=1, bias=False)
        inner = w.norm(inner, f"{block}.conv2.bn", filters)
        if stride > 1:
            y = w.conv(y, f"{block}.down", (filters, channels, 1, 1), stride, bias=False)
            y = w.norm(y, f"{block}.down.bn", filters)
        y = relu(y + inner)
    return Network(x, w.dense(global_avg_pool(y), "fc", 10, 16), w.variables)


CASES = {
    "inception_folded": Case(
        lambda: inception_top(fold=True), (2, 2048, 8, 8), 1000, lambda: Momentum(0.001, 0.9)
    ),
    "inception_frozen_norm": Case(
        lambda: inception_top(fold=False), (2, 2048, 8, 8), 1000, lambda: Momentum(0.001, 0.9, nesterov=True)
    ),
    # An epsilon well above rounding: where a gradient is almost 0, Adam would make a full step of its noise.
    "mobile": Case(mobile, (8, 3, 16, 16), 10, lambda: Adam(0.003, epsilon=1e-3)),
    "mobilenet_v2": Case(mobilenet_top, (2, 96, 14, 14), 1001, lambda: Momentum(1e-4, 0.9), private=True),
    "residual": Case(
        residual, (8, 3, 16, 16), 10, lambda: Momentum(0.1, 0.9, weight_decay=1e-3), label_smoothing=0.1
    ),
}


def graph_of(case: Case, dtype: type = np.float32) -> tuple[Graph, Network, Tensor, Tensor]:
    """A fresh graph with the network of `case`: graph, network, labels, loss."""
    with Graph(dtype) as graph:
        network = case.build()
        y, loss = loss_of(case, network)
    return graph, network, y, loss

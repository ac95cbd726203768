"""A small convolutional network on notMNIST: strides instead of pooling, one dense layer of 200.

Known answer: at least 91 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from examples.notmnist import BATCH, TRAINING, train
from finetune.autodiff import Graph, Tensor, placeholder
from finetune.autodiff.initializers import he_normal
from finetune.autodiff.layers import conv2d, dense, flatten
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.optimizers import Adam
from finetune.autodiff.schedules import cosine


def network(x: Tensor) -> Tensor:
    """Glyphs (N, 784) -> logits (N, 10)."""
    maps = conv2d(x.reshape(-1, 1, 28, 28), 16, 5, relu)  # (N, 16, 28, 28)
    maps = conv2d(maps, 8, 5, relu, strides=2)  # (N, 8, 14, 14)
    maps = conv2d(maps, 12, 4, relu, strides=2)  # (N, 12, 7, 7)
    return dense(dense(flatten(maps), 200, relu, initializer=he_normal), 10)


def main(epochs: int = 5, at_least: float = 0.91) -> None:
    with Graph() as graph:
        x, y = placeholder((None, 784), name="glyphs"), placeholder((None,), np.int64, name="letters")
        logits = network(x)
        step = Adam(cosine(0.003, epochs * TRAINING // BATCH)).minimize(softmax_cross_entropy(logits, y))
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

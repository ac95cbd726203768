"""A small convolutional network on notMNIST: strides instead of pooling, one dense layer of 200.

Known answer: at least 91 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad
from shared.notmnist import BATCH, TRAINING, train

relu, he_normal = ad.ops.activations.relu, ad.initializers.he_normal


def network(x: ad.Tensor) -> ad.Tensor:
    """Glyphs (N, 784) -> logits (N, 10)."""
    maps = ad.layers.conv2d(x.reshape(-1, 1, 28, 28), 16, 5, relu)  # (N, 16, 28, 28)
    maps = ad.layers.conv2d(maps, 8, 5, relu, strides=2)  # (N, 8, 14, 14)
    maps = ad.layers.conv2d(maps, 12, 4, relu, strides=2)  # (N, 12, 7, 7)
    hidden = ad.layers.dense(ad.layers.flatten(maps), 200, relu, initializer=he_normal)
    return ad.layers.dense(hidden, 10)


def main(epochs: int = 5, at_least: float = 0.91) -> None:
    with ad.Graph() as graph:
        x, y = ad.placeholder((None, 784), name="glyphs"), ad.placeholder((None,), np.int64, name="letters")
        logits = network(x)
        loss = ad.losses.softmax_cross_entropy(logits, y)
        step = ad.optimizers.Adam(ad.schedules.cosine(0.003, epochs * TRAINING // BATCH)).minimize(loss)
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

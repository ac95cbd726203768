"""A convolutional network with pooling and dropout on notMNIST.

Known answer: at least 92 % of the 2,000 test glyphs are right. Dropout drops in training runs only: the same graph
trains and is tested.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad
from shared.notmnist import BATCH, TRAINING, train

relu, he_normal = ad.ops.activations.relu, ad.initializers.he_normal


def network(x: ad.Tensor) -> ad.Tensor:
    """Glyphs (N, 784) -> logits (N, 10)."""
    maps = ad.layers.max_pool(ad.layers.conv2d(x.reshape(-1, 1, 28, 28), 16, 5, relu), 2)  # (N, 16, 14, 14)
    maps = ad.layers.max_pool(ad.layers.conv2d(maps, 32, 5, relu), 2)  # (N, 32, 7, 7)
    hidden = ad.layers.dense(ad.layers.flatten(maps), 256, relu, initializer=he_normal)
    return ad.layers.dense(ad.layers.dropout(hidden, 0.5), 10)


def main(epochs: int = 6, at_least: float = 0.92) -> None:
    with ad.Graph() as graph:
        x, y = ad.placeholder((None, 784), name="glyphs"), ad.placeholder((None,), np.int64, name="letters")
        logits = network(x)
        loss = ad.losses.softmax_cross_entropy(logits, y)
        step = ad.optimizers.Adam(ad.schedules.cosine(0.002, epochs * TRAINING // BATCH)).minimize(loss)
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

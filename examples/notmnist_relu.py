"""A network of two layers on notMNIST: 256 rectified units, then softmax.

Known answer: at least 88 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad
from shared.notmnist import train

relu, he_normal = ad.ops.activations.relu, ad.initializers.he_normal


def main(epochs: int = 5, at_least: float = 0.88) -> None:
    with ad.Graph() as graph:
        x, y = ad.placeholder((None, 784), name="glyphs"), ad.placeholder((None,), np.int64, name="letters")
        hidden = ad.layers.dense(x, 256, relu, initializer=he_normal, name="hidden")
        logits = ad.layers.dense(hidden, 10, name="output")
        loss = ad.losses.softmax_cross_entropy(logits, y)
        step = ad.optimizers.Momentum(0.03, weight_decay=1e-3).minimize(loss)
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

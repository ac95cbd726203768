"""Softmax regression on notMNIST: one matrix and one vector, 7,850 numbers.

Known answer: at least 85 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad
from shared.notmnist import train


def main(epochs: int = 5, at_least: float = 0.85) -> None:
    with ad.Graph() as graph:
        x, y = ad.placeholder((None, 784), name="glyphs"), ad.placeholder((None,), np.int64, name="letters")
        logits = ad.layers.dense(x, 10)
        step = ad.optimizers.SGD(0.1, weight_decay=1e-3).minimize(ad.losses.softmax_cross_entropy(logits, y))
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

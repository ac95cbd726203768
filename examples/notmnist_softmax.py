"""Softmax regression on notMNIST: one matrix and one vector, 7,850 numbers.

Known answer: at least 85 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from examples.notmnist import train
from finetune.autodiff import Graph, placeholder
from finetune.autodiff.layers import dense
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.optimizers import SGD


def main(epochs: int = 5, at_least: float = 0.85) -> None:
    with Graph() as graph:
        x, y = placeholder((None, 784), name="glyphs"), placeholder((None,), np.int64, name="letters")
        logits = dense(x, 10)
        step = SGD(0.1, weight_decay=1e-3).minimize(softmax_cross_entropy(logits, y))
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

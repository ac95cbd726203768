"""A network of two layers on notMNIST: 256 rectified units, then softmax.

Known answer: at least 88 % of the 2,000 test glyphs are right.
"""

from __future__ import annotations

import numpy as np

from examples.notmnist import train
from finetune.autodiff import Graph, placeholder
from finetune.autodiff.initializers import he_normal
from finetune.autodiff.layers import dense
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.optimizers import Momentum


def main(epochs: int = 5, at_least: float = 0.88) -> None:
    with Graph() as graph:
        x, y = placeholder((None, 784), name="glyphs"), placeholder((None,), np.int64, name="letters")
        hidden = dense(x, 256, relu, initializer=he_normal, name="hidden")
        logits = dense(hidden, 10, name="output")
        step = Momentum(0.03, weight_decay=1e-3).minimize(softmax_cross_entropy(logits, y))
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

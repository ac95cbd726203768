"""A convolutional network with pooling and dropout on notMNIST.

Known answer: at least 92 % of the 2,000 test glyphs are right. Dropout drops in training runs only: the same graph
trains and is tested.
"""

from __future__ import annotations

import numpy as np

from examples.notmnist import BATCH, TRAINING, train
from finetune.autodiff import Graph, Tensor, placeholder
from finetune.autodiff.initializers import he_normal
from finetune.autodiff.layers import conv2d, dense, dropout, flatten, max_pool
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.optimizers import Adam
from finetune.autodiff.schedules import cosine


def network(x: Tensor) -> Tensor:
    """Glyphs (N, 784) -> logits (N, 10)."""
    maps = max_pool(conv2d(x.reshape(-1, 1, 28, 28), 16, 5, relu), 2)  # (N, 16, 14, 14)
    maps = max_pool(conv2d(maps, 32, 5, relu), 2)  # (N, 32, 7, 7)
    hidden = dense(flatten(maps), 256, relu, initializer=he_normal)
    return dense(dropout(hidden, 0.5), 10)


def main(epochs: int = 6, at_least: float = 0.92) -> None:
    with Graph() as graph:
        x, y = placeholder((None, 784), name="glyphs"), placeholder((None,), np.int64, name="letters")
        logits = network(x)
        step = Adam(cosine(0.002, epochs * TRAINING // BATCH)).minimize(softmax_cross_entropy(logits, y))
    assert train(graph, x, y, logits, step, epochs) >= at_least


if __name__ == "__main__":
    main()

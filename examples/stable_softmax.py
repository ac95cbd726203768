"""Softmax and cross-entropy of logits whose exponentials no float32 can hold.

Known answer: softmax([123, 456, 789]) = [0, 0, 1], and the cross-entropy of the first class is 666 nats.
"""

from __future__ import annotations

import numpy as np

from finetune.autodiff import Graph, Session, gradients, placeholder
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.elementwise import exp
from finetune.autodiff.ops.softmax import softmax

LOGITS = np.array([[123, 456, 789]], np.float32)


def main() -> None:
    with Graph() as graph:
        logits = placeholder((None, 3), name="logits")
        labels = placeholder((None,), np.int64, name="labels")
        powers = exp(logits)
        naive = powers / powers.sum(1, keepdims=True)
        loss = softmax_cross_entropy(logits, labels)
        fetches = [naive, softmax(logits), loss, *gradients(loss, [logits])]
    broken, stable, cost, slope = Session(graph, "cpu").run(fetches, {logits: LOGITS, labels: [0]})
    print(f"exp(x) / sum(exp(x)): {broken[0]}\nsoftmax(x):           {stable[0]}")
    print(f"cross-entropy of class 0: {cost} nats, its gradient {slope[0]}")
    assert np.isnan(broken).any()
    np.testing.assert_array_equal(stable, [[0, 0, 1]])
    np.testing.assert_array_equal(slope, [[-1, 0, 1]])
    assert cost == 666


if __name__ == "__main__":
    main()

"""Softmax and cross-entropy of logits whose exponentials no float32 can hold.

Known answer: softmax([123, 456, 789]) = [0, 0, 1], and the cross-entropy of the first class is 666 nats.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

LOGITS = np.array([[123, 456, 789]], np.float32)


def main() -> None:
    with ad.Graph() as graph:
        logits = ad.placeholder((None, 3), name="logits")
        labels = ad.placeholder((None,), np.int64, name="labels")
        powers = ad.ops.elementwise.exp(logits)
        naive = powers / powers.sum(1, keepdims=True)
        loss = ad.losses.softmax_cross_entropy(logits, labels)
        fetches = [naive, ad.ops.softmax.softmax(logits), loss, *ad.gradients(loss, [logits])]
    broken, stable, cost, slope = ad.Session(graph, "cpu").run(fetches, {logits: LOGITS, labels: [0]})
    print(f"exp(x) / sum(exp(x)): {broken[0]}\nsoftmax(x):           {stable[0]}")
    print(f"cross-entropy of class 0: {cost} nats, its gradient {slope[0]}")
    assert np.isnan(broken).any()
    np.testing.assert_array_equal(stable, [[0, 0, 1]])
    np.testing.assert_array_equal(slope, [[-1, 0, 1]])
    assert cost == 666


if __name__ == "__main__":
    main()

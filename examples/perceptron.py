"""A perceptron with one hidden layer, y = g(W2 tanh(W1 x + b1) + b2), learns exclusive or.

Known answer: no line separates the four points, so without the hidden layer nothing is better than one half; with it
all four come out right.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
OUTPUTS = np.array([[0], [1], [1], [0]], np.float32)


def learn(hidden: int, steps: int = 300) -> np.ndarray:
    """What the network answers after training, (4, 1); `hidden` 0 leaves the hidden layer out."""
    with ad.Graph(seed=1) as graph:
        x, y = ad.placeholder((None, 2), name="x"), ad.placeholder((None, 1), name="y")
        last = ad.layers.dense(x, hidden, ad.ops.activations.tanh, name="hidden") if hidden else x
        logits = ad.layers.dense(last, 1, name="output")
        answer = ad.ops.activations.sigmoid(logits)
        train = ad.optimizers.Adam(0.05).minimize(ad.losses.sigmoid_cross_entropy(logits, y))
    session = ad.Session(graph, "cpu")
    for _ in range(steps):
        session.run(train, {x: INPUTS, y: OUTPUTS})
    return session.run(answer, {x: INPUTS})


def main() -> None:
    flat, deep = learn(hidden=0), learn(hidden=8)
    for (a, b), without, answer in zip(INPUTS, flat[:, 0], deep[:, 0], strict=True):
        print(f"{a:.0f} xor {b:.0f}: {answer:.3f} (without the hidden layer {without:.3f})")
    np.testing.assert_allclose(flat, 0.5, atol=0.05)
    np.testing.assert_allclose(deep, OUTPUTS, atol=0.05)


if __name__ == "__main__":
    main()

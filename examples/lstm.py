"""An LSTM, unrolled over 12 steps, remembers the first of its inputs.

Each sequence begins with one of eight symbols; eleven others of no meaning follow, and at the end the first is asked
for. Known answer: what has no memory is right one time in eight, the LSTM always. Hochreiter and Schmidhuber 1997,
with the forget gate of Gers et al. 2000 that begins open.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

SYMBOLS, LENGTH, UNITS = 8, 12, 24
sigmoid, tanh = ad.ops.activations.sigmoid, ad.ops.activations.tanh


def lstm(inputs: list[ad.Tensor]) -> ad.Tensor:
    """The last output (N, units) of an LSTM over `inputs`, one tensor (N, symbols) a step; all share the weights."""
    weights = ad.variable(ad.initializers.xavier_uniform, (SYMBOLS + UNITS, 4 * UNITS), name="lstm/weights")
    bias = np.zeros(4 * UNITS, np.float32)
    bias[UNITS : 2 * UNITS] = 1.0  # the forget gate
    bias = ad.variable(bias, name="lstm/bias")
    nothing = inputs[0] @ np.zeros((SYMBOLS, UNITS), np.float32)  # (N, units)
    cell = output = nothing
    for step in inputs:
        gates = ad.ops.shape.concat([step, output], axis=1) @ weights + bias
        take, keep, show, new = (gates[:, i * UNITS : (i + 1) * UNITS] for i in range(4))
        cell = sigmoid(keep) * cell + sigmoid(take) * tanh(new)
        output = sigmoid(show) * tanh(cell)
    return output


def sequences(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols as one-hot rows (count, length, symbols), and the first of each (count,)."""
    symbols = rng.integers(0, SYMBOLS, (count, LENGTH))
    return np.eye(SYMBOLS, dtype=np.float32)[symbols], symbols[:, 0]


def main(steps: int = 500) -> None:
    rng = np.random.default_rng(0)
    with ad.Graph(seed=0) as graph:
        x = ad.placeholder((None, LENGTH, SYMBOLS), name="symbols")
        first = ad.placeholder((None,), np.int64, name="first")
        logits = ad.layers.dense(lstm([x[:, i] for i in range(LENGTH)]), SYMBOLS, name="answer")
        loss = ad.losses.softmax_cross_entropy(logits, first)
        train = ad.optimizers.Adam(0.01).minimize(loss)
    session = ad.Session(graph, "cpu")
    for step in range(steps):
        batch, labels = sequences(rng, 64)
        _, value = session.run([train, loss], {x: batch, first: labels})
        if step % 100 == 0:
            print(f"step {step:3}  loss {value:.3f}")
    batch, labels = sequences(rng, 1000)
    accuracy = (session.run(logits, {x: batch}).argmax(1) == labels).mean()
    print(f"first of {LENGTH} symbols remembered: {accuracy:.1%} (by chance {1 / SYMBOLS:.1%})")
    assert accuracy > 0.99


if __name__ == "__main__":
    main()

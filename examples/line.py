"""Finds the line y = 0.1 x + 0.3 through 100 points by gradient descent.

Known answer: with rate 0.5, 201 steps bring the weight to 0.1 and the bias to 0.3.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad


def main() -> None:
    x = np.random.default_rng(0).random(100)
    with ad.Graph() as graph:
        weight = ad.variable(lambda rng, shape: rng.uniform(-1.0, 1.0, shape), (1,), name="weight")
        bias = ad.variable(ad.initializers.zeros, (1,), name="bias")
        loss = ad.losses.mean_squared_error(weight * x + bias, 0.1 * x + 0.3)
        train = ad.optimizers.SGD(0.5).minimize(loss)

    session = ad.Session(graph, "cpu")
    for step in range(201):
        session.run(train)
        if step % 20 == 0:
            print(f"step {step:3}: y = {session.value(weight)[0]:.4f} x + {session.value(bias)[0]:.4f}")
    np.testing.assert_allclose(session.value(weight), 0.1, atol=1e-4)
    np.testing.assert_allclose(session.value(bias), 0.3, atol=1e-4)


if __name__ == "__main__":
    main()

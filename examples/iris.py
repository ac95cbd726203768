"""Softmax regression on Fisher's iris flowers, against scikit-learn's.

Known answer: the same convex problem has one solution, so the probabilities agree with LogisticRegression's.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from graft import autodiff as ad


def main() -> None:
    data = load_iris()
    features = (data.data - data.data.mean(0)) / data.data.std(0)
    with ad.Graph(np.float64) as graph:
        x = ad.placeholder((None, 4), name="features")
        y = ad.placeholder((None,), np.int64, name="species")
        weights = ad.variable(ad.initializers.zeros, (4, 3), name="weights")
        logits = x @ weights + ad.variable(ad.initializers.zeros, (3,), name="bias")
        probabilities = ad.ops.softmax.softmax(logits)
        # scikit-learn minimises the sum of the losses plus half the squared weights; this is that sum / 150.
        penalty = (weights * weights).sum() / (2.0 * len(features))
        loss = ad.losses.softmax_cross_entropy(logits, y) + penalty
        train = ad.optimizers.Momentum(0.5, 0.9, nesterov=True).minimize(loss)

    session = ad.Session(graph, "cpu")
    for _ in range(500):
        session.run(train, {x: features, y: data.target})
    ours = session.run(probabilities, {x: features})
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, data.target)
    theirs = reference.predict_proba(features)
    print(f"right: {(ours.argmax(1) == data.target).mean():.1%}, scikit-learn "
          f"{reference.score(features, data.target):.1%}; "
          f"largest difference of a probability {np.abs(ours - theirs).max():.1e}")  # fmt: skip
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


if __name__ == "__main__":
    main()

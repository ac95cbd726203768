"""Linear regression on two houses: 90 m2 for 160,000 and 120 m2 for 230,000.

Known answers: the guess w = 1000, b = 100 has a mean squared error of 8,482,010,000; the line through both points is
w = 2333.33, b = -50,000. Gradient descent finds it once areas and prices are standardised: on the raw numbers the
error's curvature differs by a factor of 10^4 between the two directions.
"""

from __future__ import annotations

import numpy as np

from graft import autodiff as ad

AREAS = np.array([90.0, 120.0])  # m2
PRICES = np.array([160_000.0, 230_000.0])


def error_of(w: float, b: float) -> float:
    """Mean squared error of the line price = w area + b."""
    with ad.Graph(np.float64) as graph:
        error = ad.losses.mean_squared_error(w * ad.constant(AREAS) + b, PRICES)
    return float(ad.Session(graph, "cpu").run(error))


def descend(steps: int = 100) -> tuple[float, float]:
    """The line, by gradient descent on inputs and outputs of mean 0 and deviation 1."""
    x, y = ((values - values.mean()) / values.std() for values in (AREAS, PRICES))
    with ad.Graph(np.float64) as graph:
        slope, offset = ad.variable(0.0, name="slope"), ad.variable(0.0, name="offset")
        train = ad.optimizers.SGD(0.1).minimize(ad.losses.mean_squared_error(slope * x + offset, y))
    session = ad.Session(graph, "cpu")
    for _ in range(steps):
        session.run(train)
    w = float(session.value(slope)) * PRICES.std() / AREAS.std()  # back to m2 and money
    b = float(session.value(offset)) * PRICES.std() + PRICES.mean() - w * AREAS.mean()
    return w, b


def main() -> None:
    guess = error_of(1000.0, 100.0)
    design = np.stack([AREAS, np.ones(2)], 1)
    w, b = np.linalg.solve(design.T @ design, design.T @ PRICES)  # the normal equations
    found_w, found_b = descend()
    print(f"mean squared error at w = 1000, b = 100: {guess:,.0f}")
    print(f"closed form:      w = {w:.2f}, b = {b:,.0f}, error {error_of(w, b):.3g}")
    print(f"gradient descent: w = {found_w:.2f}, b = {found_b:,.0f}")
    assert guess == 8_482_010_000
    np.testing.assert_allclose([w, b], [7000 / 3, -50_000])
    np.testing.assert_allclose([found_w, found_b], [w, b], rtol=1e-6)


if __name__ == "__main__":
    main()

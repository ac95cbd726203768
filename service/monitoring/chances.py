"""Chances, out of nothing but the standard library: tails of distributions, exact intervals, and evidence over time."""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-300
_STEPS = 500  # of the fraction and of halving an interval, at most


def beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for x within 0 to 1 and positive a and b."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    factor = a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta(a, b)
    return math.exp(factor) * _fraction(x, a, b)


def log_beta(a: float, b: float) -> float:
    """The logarithm of the beta function, for positive a and b."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def f_tail(f: float, numerator: float, denominator: float) -> float:
    """The chance that a number of Fisher's F distribution with these positive degrees of freedom is above `f`."""
    if f <= 0:
        return 1.0
    return beta_share(denominator / (denominator + numerator * f), denominator / 2, numerator / 2)


def exact_interval(successes: int, trials: int, coverage: float = 0.95) -> tuple[float, float]:
    """The interval of a share that holds the true one at least as often as `coverage` says.

    Of `trials`, 0 to all are successes; of no trials it is 0 to 1. Source: Clopper and Pearson 1934, "The use of
    confidence or fiducial limits illustrated in the case of the binomial".
    """
    outside = (1 - coverage) / 2
    low, high = 0.0, 1.0
    if successes > 0:
        low = _root(lambda p: beta_share(p, successes, trials - successes + 1), outside)
    if successes < trials:
        high = _root(lambda p: beta_share(p, successes + 1, trials - successes), 1 - outside)
    return low, high


def drawn_chance(drawn: int, draws: int, marked: int, total: int) -> float:
    """How surprising it is that `drawn` of `draws` balls are marked, of `total` with `marked` ones.

    Fisher's exact test: twice the smaller tail of the hypergeometric distribution, at most 1. Neither `draws` nor
    `marked` is above `total`, and `drawn` is a number that can be drawn.
    """
    least, most = max(0, draws - (total - marked)), min(draws, marked)

    def log_chance(k: int) -> float:
        return _log_choose(marked, k) + _log_choose(total - marked, draws - k) - _log_choose(total, draws)

    # From `drawn` outwards terms fall or rise: both tails are summed, and the sum to 1 is not relied on.
    below = math.fsum(math.exp(log_chance(k)) for k in range(least, drawn + 1))
    above = math.fsum(math.exp(log_chance(k)) for k in range(drawn, most + 1))
    return min(1.0, 2 * min(below, above))


def log_evidence(successes: int, trials: int, share: float, *, above: bool) -> float:
    """The logarithm of the evidence that a share is above `share` (or below it), against the opposite.

    `share` lies between 0 and 1; of `trials`, 0 to all are successes. The evidence is the likelihood of what came,
    averaged over all shares above, over that under `share`. As long as the true share is not above, the chance that it
    ever reaches 1 / p, however often one looks, is p at most (Ville 1939); so its inverse can be read as a p-value at
    any time. Source: Robbins 1970, "Statistical methods related to the law of the iterated logarithm".
    """
    a, b = successes + 1, trials - successes + 1
    inside = beta_share(1 - share, b, a) if above else beta_share(share, a, b)
    width = 1 - share if above else share
    if inside <= 0 or width <= 0:
        return -math.inf
    log_average = log_beta(a, b) + math.log(inside) - math.log(width)
    return log_average - successes * math.log(share) - (trials - successes) * math.log1p(-share)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _root(rising: Callable[[float], float], value: float) -> float:
    """Where a function that rises from 0 at 0 to 1 at 1 has a value."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by the method of Lentz.

    Source: NIST Digital Library of Mathematical Functions, 8.17.22.
    """
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            total *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return total


def _not_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY

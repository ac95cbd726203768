"""Linear algebra on one thread: matrices of a few thousand rows gain nothing from more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy, SciPy and scikit-learn compute on one thread inside; also a decorator.

    Threads of BLAS wait for each other by spinning: beside other work on the same cores small products get fifty times
    slower. And sums are then added in the same order on every machine. What was imported before is limited; so
    scikit-learn comes first where it is used.
    """
    from scipy import linalg  # noqa: F401 (it brings a BLAS of its own)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield

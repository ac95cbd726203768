"""Paired timing: every candidate runs in every round, in turn, so that a busy moment hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np


def paired(
    candidates: Mapping[str, Callable[[], object]], rounds: int, repeat: int
) -> dict[str, list[float]]:
    """Seconds per call of each candidate, one figure a round; the order turns round every time."""
    for run in candidates.values():
        run()
        run()
    names = list(candidates)
    times: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            begin = time.perf_counter()
            for _ in range(repeat):
                candidates[name]()
            times[name].append((time.perf_counter() - begin) / repeat)
    return times


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """Median over the rounds of how many times faster `name` is than `base`."""
    return statistics.median(b / a for a, b in zip(times[name], times[base], strict=True))


def sgemm_rate(size: int = 2048) -> float:
    """GFLOP/s of numpy's float32 matrix product, for scale."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    times = paired({"gemm": lambda: a @ b}, 5, 1)["gemm"]
    return 2 * size**3 / statistics.median(times) / 1e9


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines
    )

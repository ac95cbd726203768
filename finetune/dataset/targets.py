"""The numbers that a regression learns."""

from __future__ import annotations

from typing import Any

import numpy as np

_LARGEST = float(np.finfo(np.float32).max)  # targets are learned in 32 bits, where a larger one is infinite


def target_in(value: Any) -> float | None:
    """The number that a cell, a text or a label is; None where it is none that can be learned: finite, of 32 bits."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None  # NaN is not either

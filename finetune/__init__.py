"""Teach a pretrained network your own classes, and know what the result is worth.

`FineTuner` is imported when it is first asked for: evaluation alone needs no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.tuner import FineTuner

__all__ = ["FineTuner"]


def __getattr__(name: str) -> Any:
    if name != "FineTuner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from finetune.tuner import FineTuner

    return FineTuner

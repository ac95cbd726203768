"""Images in, vectors out.

`FeatureExtractor` and `extract` are imported when they are first asked for: workers need no scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feature_extraction.extraction import extract
    from feature_extraction.transformer import FeatureExtractor

__all__ = ["FeatureExtractor", "extract"]

_WHERE = {"FeatureExtractor": "feature_extraction.transformer", "extract": "feature_extraction.extraction"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)

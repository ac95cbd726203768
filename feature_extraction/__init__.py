"""Images in, vectors out.

`FeatureExtractor` and `extract` are imported when they are first asked for: workers need no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_extraction.extraction import extract
    from feature_extraction.transformer import FeatureExtractor
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "FeatureExtractor": "feature_extraction.transformer:FeatureExtractor",
            "extract": "feature_extraction.extraction:extract",
        },
    )

__all__ = [
    "FeatureExtractor",
    "extract",
]

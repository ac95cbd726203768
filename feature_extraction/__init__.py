"""Images in, vectors out.

The public names are imported when they are first asked for: workers need no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_extraction.extraction import extract, extract_to
    from feature_extraction.items import ImageItem
    from feature_extraction.opening import open_images
    from feature_extraction.transformer import FeatureExtractor
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "FeatureExtractor": "feature_extraction.transformer:FeatureExtractor",
            "ImageItem": "feature_extraction.items:ImageItem",
            "extract": "feature_extraction.extraction:extract",
            "extract_to": "feature_extraction.extraction:extract_to",
            "open_images": "feature_extraction.opening:open_images",
        },
    )

__all__ = [
    "FeatureExtractor",
    "ImageItem",
    "extract",
    "extract_to",
    "open_images",
]

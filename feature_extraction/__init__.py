"""Images in, vectors out.

The public names are imported when they are first asked for: workers need no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_extraction.arrow import Features
    from feature_extraction.extraction import extract, extract_to
    from feature_extraction.items import ImageItem
    from feature_extraction.opening import open_images
    from feature_extraction.parts.making import do_part
    from feature_extraction.parts.merging import merge_parts
    from feature_extraction.parts.places import open_place
    from feature_extraction.parts.planning import plan_parts
    from feature_extraction.transformer import FeatureExtractor
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Features": "feature_extraction.arrow:Features",
            "FeatureExtractor": "feature_extraction.transformer:FeatureExtractor",
            "ImageItem": "feature_extraction.items:ImageItem",
            "do_part": "feature_extraction.parts.making:do_part",
            "extract": "feature_extraction.extraction:extract",
            "extract_to": "feature_extraction.extraction:extract_to",
            "merge_parts": "feature_extraction.parts.merging:merge_parts",
            "open_images": "feature_extraction.opening:open_images",
            "open_place": "feature_extraction.parts.places:open_place",
            "plan_parts": "feature_extraction.parts.planning:plan_parts",
        },
    )

__all__ = [
    "FeatureExtractor",
    "Features",
    "ImageItem",
    "do_part",
    "extract",
    "extract_to",
    "merge_parts",
    "open_images",
    "open_place",
    "plan_parts",
]

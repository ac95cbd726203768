"""What a model is: card, zoo, weights, preprocessing, cutting and onnxruntime sessions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# onnxruntime 1.32 and later reports to its maker what it is used for, unless this stands there before it is imported. A
# value that somebody has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from models.card import Label, ModelCard
    from models.errors import GraftError
    from models.features import FeatureOptions, open_features
    from models.importing import ImportOptions, import_model
    from models.locating import locate
    from models.model import Model, Prediction
    from models.preprocessing import Preprocessing
    from models.quantization import quantize
    from models.runtime import RuntimeConfig
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "FeatureOptions": "models.features:FeatureOptions",
            "GraftError": "models.errors:GraftError",
            "ImportOptions": "models.importing:ImportOptions",
            "Label": "models.card:Label",
            "Model": "models.model:Model",
            "ModelCard": "models.card:ModelCard",
            "Prediction": "models.model:Prediction",
            "Preprocessing": "models.preprocessing:Preprocessing",
            "RuntimeConfig": "models.runtime:RuntimeConfig",
            "import_model": "models.importing:import_model",
            "locate": "models.locating:locate",
            "open_features": "models.features:open_features",
            "quantize": "models.quantization:quantize",
        },
    )

__all__ = [
    "FeatureOptions",
    "GraftError",
    "ImportOptions",
    "Label",
    "Model",
    "ModelCard",
    "Prediction",
    "Preprocessing",
    "RuntimeConfig",
    "import_model",
    "locate",
    "open_features",
    "quantize",
]

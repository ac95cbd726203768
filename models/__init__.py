"""What a model is: card, zoo, weights, preprocessing, cutting and onnxruntime sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.card import Label, ModelCard
    from models.errors import GraftError
    from models.locating import locate
    from models.model import Model, Prediction
    from models.preprocessing import Preprocessing
    from models.runtime import RuntimeConfig
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "GraftError": "models.errors:GraftError",
            "Label": "models.card:Label",
            "Model": "models.model:Model",
            "ModelCard": "models.card:ModelCard",
            "Prediction": "models.model:Prediction",
            "Preprocessing": "models.preprocessing:Preprocessing",
            "RuntimeConfig": "models.runtime:RuntimeConfig",
            "locate": "models.locating:locate",
        },
    )

__all__ = [
    "GraftError",
    "Label",
    "Model",
    "ModelCard",
    "Prediction",
    "Preprocessing",
    "RuntimeConfig",
    "locate",
]

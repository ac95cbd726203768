"""The front door: everything that a program needs of Graft, imported when it is first asked for.

    import graft

    model = graft.Model.open("builtin")         # classify images, or give features
    graft.extract, graft.FeatureExtractor       # features of collections; the scikit-learn transformer
    graft.Features                              # columns of images into columns of features, for other engines
    graft.FineTuner                             # teach a network your own classes
    graft.evaluate, graft.GradCam               # how often it is right, and why it says so
    graft.Saliency, graft.Occlusion             # other ways to ask why
    graft.Ascent                                # what a unit wants to see
    graft.create_app                            # the HTTP service, as a WSGI application
    from graft import autodiff as ad            # gradients for ONNX networks

The packages behind it are `models`, `feature_extraction`, `finetune` and `service`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.strangers import claim_names

claim_names()

if TYPE_CHECKING:
    from feature_extraction import FeatureExtractor, Features, extract
    from finetune import (
        Ascent,
        FineTuner,
        GradCam,
        Occlusion,
        Saliency,
        autodiff,
        evaluate,
        evaluate_regression,
        full_photo,
        join,
        open_split,
        overlay,
        tensorboard,
    )
    from models import GraftError, Model, Prediction, RuntimeConfig, errors, locate
    from models.version import __version__
    from service import create_app
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Ascent": "finetune:Ascent",
            "Features": "feature_extraction:Features",
            "FeatureExtractor": "feature_extraction:FeatureExtractor",
            "FineTuner": "finetune:FineTuner",
            "GradCam": "finetune:GradCam",
            "GraftError": "models:GraftError",
            "Model": "models:Model",
            "Occlusion": "finetune:Occlusion",
            "Prediction": "models:Prediction",
            "RuntimeConfig": "models:RuntimeConfig",
            "Saliency": "finetune:Saliency",
            "__version__": "models.version:__version__",
            "autodiff": "finetune.autodiff",
            "create_app": "service:create_app",
            "errors": "models.errors",
            "evaluate": "finetune:evaluate",
            "evaluate_regression": "finetune:evaluate_regression",
            "extract": "feature_extraction:extract",
            "full_photo": "finetune:full_photo",
            "join": "finetune:join",
            "locate": "models:locate",
            "open_split": "finetune:open_split",
            "overlay": "finetune:overlay",
            "tensorboard": "finetune.tensorboard",
        },
    )

__all__ = [
    "Ascent",
    "FeatureExtractor",
    "Features",
    "FineTuner",
    "GradCam",
    "GraftError",
    "Model",
    "Occlusion",
    "Prediction",
    "RuntimeConfig",
    "Saliency",
    "__version__",
    "autodiff",
    "create_app",
    "errors",
    "evaluate",
    "evaluate_regression",
    "extract",
    "full_photo",
    "join",
    "locate",
    "open_split",
    "overlay",
    "tensorboard",
]

"""Teach a pretrained network your own classes, and know what the result is worth.

`FineTuner` is imported when it is first asked for: evaluation alone needs no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.dataset.opening import open_dataset, open_split
    from finetune.explain.ascent import Ascent
    from finetune.explain.geometry import full_photo
    from finetune.explain.gradcam import GradCam
    from finetune.explain.occlusion import Occlusion
    from finetune.explain.overlay import overlay
    from finetune.explain.saliency import Saliency
    from finetune.heads.joining import join
    from finetune.trust.evaluation import evaluate
    from finetune.trust.regression import evaluate_regression
    from finetune.tuner import FineTuner
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Ascent": "finetune.explain.ascent:Ascent",
            "FineTuner": "finetune.tuner:FineTuner",
            "GradCam": "finetune.explain.gradcam:GradCam",
            "Occlusion": "finetune.explain.occlusion:Occlusion",
            "Saliency": "finetune.explain.saliency:Saliency",
            "evaluate": "finetune.trust.evaluation:evaluate",
            "evaluate_regression": "finetune.trust.regression:evaluate_regression",
            "full_photo": "finetune.explain.geometry:full_photo",
            "join": "finetune.heads.joining:join",
            "open_dataset": "finetune.dataset.opening:open_dataset",
            "open_split": "finetune.dataset.opening:open_split",
            "overlay": "finetune.explain.overlay:overlay",
        },
    )

__all__ = [
    "Ascent",
    "FineTuner",
    "GradCam",
    "Occlusion",
    "Saliency",
    "evaluate",
    "evaluate_regression",
    "full_photo",
    "join",
    "open_dataset",
    "open_split",
    "overlay",
]

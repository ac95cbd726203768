"""Classifiers and regressions of scikit-learn on the features of a frozen network, exported as ONNX nodes.

`embedding` of their tops is what the trunk gives, as it is: standardising belongs to the classifier.
"""

from __future__ import annotations

from finetune.classifiers.exporting import export_top
from finetune.classifiers.fitting import CLASSIFIERS, REGRESSORS, fit_classifier, fit_regressor
from finetune.classifiers.result import Fitted, check

__all__ = ["CLASSIFIERS", "REGRESSORS", "Fitted", "check", "export_top", "fit_classifier", "fit_regressor"]

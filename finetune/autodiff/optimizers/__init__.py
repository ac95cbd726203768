"""Optimizers: each is its formula, then its code."""

from __future__ import annotations

from finetune.autodiff.optimizers.adam import Adam, AdamW
from finetune.autodiff.optimizers.adaptive import Adadelta, Adagrad, AdagradDA, RMSProp
from finetune.autodiff.optimizers.averages import MovingAverages
from finetune.autodiff.optimizers.base import Memory, Optimizer, SplitStep
from finetune.autodiff.optimizers.descent import SGD, Momentum
from finetune.autodiff.optimizers.ftrl import FTRL

__all__ = [
    "FTRL",
    "SGD",
    "Adadelta",
    "Adagrad",
    "AdagradDA",
    "Adam",
    "AdamW",
    "Memory",
    "Momentum",
    "MovingAverages",
    "Optimizer",
    "RMSProp",
    "SplitStep",
]

"""Heads and top blocks of networks, trained in the autodiff graph, resumable to the bit.

`train_head` and `train_blocks` are imported when they are first asked for: settings alone need no graph.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.training.blocks import train_blocks
    from finetune.training.data import TrainingData
    from finetune.training.head import train_head
    from finetune.training.result import Epoch, Phase, Progress, Trained
    from finetune.training.settings import Settings

__all__ = [
    "Epoch",
    "Phase",
    "Progress",
    "Settings",
    "Trained",
    "TrainingData",
    "train_blocks",
    "train_head",
]

_WHERE = {
    "Epoch": "result",
    "Phase": "result",
    "Progress": "result",
    "Settings": "settings",
    "Trained": "result",
    "TrainingData": "data",
    "train_blocks": "blocks",
    "train_head": "head",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)

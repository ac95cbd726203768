"""What stands behind the frozen trunk of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto


@dataclass(frozen=True)
class Top:
    """A trained top, as all methods leave it.

    `model` takes `features` and gives `embedding` and either `logits`, float32 (N, classes), without temperature, or
    `value`. `chosen` is what fitting decided (C, learning rate, epochs ...), for the card and the report: plain
    JSON values, and the same in every run with the same data and seed.
    """

    model: ModelProto
    chosen: Mapping[str, Any] = field(default_factory=dict)

"""What stands behind the frozen trunk of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto

FEATURES = "features"  # the one input, float32 (N, ...): what the trunk gives
EMBEDDING = "embedding"  # float32 (N, D): the vector that the last layer reads
VALUE = "value"  # float32 (N,): the output of a regression, in the unit of its targets


@dataclass(frozen=True)
class Top:
    """A trained top, as all methods leave it.

    `model` takes `features` and gives `embedding` and either `logits`, float32 (N, classes), without temperature, or
    `value`. `chosen` is what fitting decided (C, learning rate, epochs ...), for the card and the report: plain
    JSON values, and the same in every run with the same data and seed.
    """

    model: ModelProto
    chosen: Mapping[str, Any] = field(default_factory=dict)

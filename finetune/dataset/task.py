"""What is learned of images: a class of each, which of several labels hold, or a number."""

from __future__ import annotations

from typing import Literal

Task = Literal["classification", "multilabel", "regression"]

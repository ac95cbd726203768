"""What is learned of images: a class of each, or a number."""

from __future__ import annotations

from typing import Literal

Task = Literal["classification", "regression"]

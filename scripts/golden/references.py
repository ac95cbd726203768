"""Imports torchvision and timm beside a PyTorch for which torchvision's compiled operators were not built.

Importing torchvision describes its operators to PyTorch, which fails where they are unknown. Of those only the
schemas are needed; none is ever called here.
"""

from __future__ import annotations

import torch

_library = torch.library.Library("torchvision", "DEF")
for _operator in ("nms", "qnms"):
    _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402
import torchvision  # noqa: E402

__all__ = ["timm", "torchvision"]

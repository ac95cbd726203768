"""A graph of tensors with derivatives, compiled to ONNX and run by onnxruntime."""

from __future__ import annotations

from finetune.autodiff import clipping, initializers, layers, losses, ops, optimizers, schedules
from finetune.autodiff.exporting import export
from finetune.autodiff.gradients import gradients
from finetune.autodiff.graph import Graph, Operation, constant, placeholder, variable
from finetune.autodiff.importing import Imported, import_onnx
from finetune.autodiff.registry import not_differentiable, register_op
from finetune.autodiff.session import Session
from finetune.autodiff.tensor import Tensor, Variable, apply

__all__ = [
    "Graph",
    "Imported",
    "Operation",
    "Session",
    "Tensor",
    "Variable",
    "apply",
    "clipping",
    "constant",
    "export",
    "gradients",
    "import_onnx",
    "initializers",
    "layers",
    "losses",
    "not_differentiable",
    "ops",
    "optimizers",
    "placeholder",
    "register_op",
    "schedules",
    "variable",
]

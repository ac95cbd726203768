"""The ONNX versions that everything written here declares.

onnx 1.23 writes opset 28 and IR version 14 by default; onnxruntime 1.31 loads up to opset 26 and IR 13.
"""

from __future__ import annotations

from onnx import OperatorSetIdProto, helper

OPSET = 18
IR_VERSION = 10


def opset_imports() -> list[OperatorSetIdProto]:
    """The opset declaration for `onnx.helper.make_model`."""
    return [helper.make_opsetid("", OPSET)]

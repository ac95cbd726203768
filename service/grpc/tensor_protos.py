"""TensorFlow's tensors as messages: read as those of the Open Inference Protocol are."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.errors import InputError
from models.names import INPUT
from models.runtime import Array
from service.bodies.memory import Share
from service.grpc.messages import message_class
from service.grpc.repeated import listed
from service.protocols.tensorflow_serving import KINDS
from service.protocols.tensors import BYTES, InferRequest, Wanted, parse_infer

_TYPES = message_class("tensorflow.TensorProto").DESCRIPTOR.fields_by_name["dtype"].enum_type
# By the name of a type: how the Open Inference Protocol calls it, and the field that holds its values.
_KNOWN = {
    "DT_FLOAT": ("FP32", "float_val"),
    "DT_DOUBLE": ("FP64", "double_val"),
    "DT_HALF": ("FP16", "half_val"),
    "DT_INT8": ("INT8", "int_val"),
    "DT_INT16": ("INT16", "int_val"),
    "DT_INT32": ("INT32", "int_val"),
    "DT_INT64": ("INT64", "int64_val"),
    "DT_UINT8": ("UINT8", "int_val"),
    "DT_UINT16": ("UINT16", "int_val"),
    "DT_UINT32": ("UINT32", "uint32_val"),
    "DT_UINT64": ("UINT64", "uint64_val"),
    "DT_BOOL": ("BOOL", "bool_val"),
    "DT_STRING": (BYTES, "string_val"),
}


def read_tensor(tensor: Any, outputs: tuple[Wanted, ...] | None, share: Share) -> InferRequest:
    """A request with one tensor for its input. A tensor without dimensions is one image.

    Raises:
        InputError: a type that is not taken, or values that do not fit the shape.
        BusyError: there is no memory for it now.
    """
    number = _TYPES.values_by_number.get(tensor.dtype)
    datatype, field = _KNOWN.get(number.name if number is not None else "", ("", ""))
    if not field:
        raise InputError(
            f"{INPUT!r} has the type {tensor.dtype}; expected DT_STRING, DT_UINT8 or other numbers."
        )
    if tensor.tensor_shape.unknown_rank:
        raise InputError(f"{INPUT!r} has no shape; expected the sizes of all dimensions.")
    shape = [dim.size for dim in tensor.tensor_shape.dim] or [1]
    entry: dict[str, Any] = {"name": INPUT, "datatype": datatype, "shape": shape}
    raw = tensor.tensor_content
    if raw and datatype != BYTES:
        entry["parameters"] = {"binary_data_size": len(raw)}
    else:
        raw = b""
        entry["data"] = _values(tensor, field, share)
    asked = parse_infer({"inputs": [entry]}, memoryview(raw))
    return InferRequest(asked.inputs, outputs, binary=True)


def _values(tensor: Any, field: str, share: Share) -> list[Any]:
    values = listed(tensor, field, INPUT, "tensor_content", share)
    if field == "half_val":
        bits = np.array([value & 0xFFFF for value in values], np.uint16)
        return list(map(float, bits.view(np.float16)))
    return values


def tensor_of(values: Array) -> Any:
    """A tensor with its values in the field of their type, which clients in every language read."""
    kind = KINDS[values.dtype.name]
    message = message_class("tensorflow.TensorProto")(dtype=kind)
    for size in values.shape:
        message.tensor_shape.dim.add(size=size)
    flat = values.ravel()
    if kind == "DT_HALF":
        flat = flat.view(np.uint16)
    getattr(message, _KNOWN[kind][1]).extend(flat.tolist())
    return message

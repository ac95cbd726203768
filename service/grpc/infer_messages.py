"""Requests and answers of `ModelInfer` as messages: read by what reads JSON and the bytes behind it over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models.errors import InputError
from service.bodies.memory import Share
from service.grpc.messages import message_class
from service.grpc.repeated import listed
from service.protocols.inferring import Inferred
from service.protocols.tensor_answers import form_of, packed
from service.protocols.tensors import BYTES, InferRequest, parse_infer

REQUEST, RESPONSE = "inference.ModelInferRequest", "inference.ModelInferResponse"
# Which field of typed contents holds the numbers of a datatype. There is none for FP16.
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
_SIZE = "binary_data_size"


def read_infer(message: Any, share: Share, ignored: frozenset[str] = frozenset()) -> InferRequest:
    """The request that a message holds; outputs are wanted in binary. `ignored`: parameters that others heed.

    Raises:
        InputError: something in it is missing, surplus, of another kind, or lies about its size.
        BusyError: there is no memory for it now.
    """
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        raise InputError(
            f"raw_input_contents holds {len(raw)} tensors, and there are {len(message.inputs)} inputs; expected one "
            "for each."
        )
    inputs = []
    for place, tensor in enumerate(message.inputs):
        parameters = _parameters(tensor.parameters)
        entry: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        size = len(raw[place]) if raw else None
        # KServe's client says it here, too.
        if parameters.get(_SIZE, size) != size:
            expected = "nothing" if size is None else f"{size}, or nothing"
            raise InputError(
                f"{_SIZE} of {tensor.name[:60]!r} is {parameters[_SIZE]}; expected {expected}: over gRPC a tensor says "
                "its size itself."
            )
        if raw:
            if tensor.HasField("contents") and tensor.contents.ByteSize():
                raise InputError(
                    f"{tensor.name[:60]!r} has contents beside raw_input_contents; expected one of them for all inputs."
                )
            parameters[_SIZE] = size
        else:
            entry["data"] = _contents(tensor, share)
        inputs.append({**entry, "parameters": parameters})
    outputs = [
        {"name": output.name, "parameters": _parameters(output.parameters)} for output in message.outputs
    ]
    of_request = {
        name: value for name, value in _parameters(message.parameters).items() if name not in ignored
    }
    values = {
        "id": message.id,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"binary_data_output": True, **of_request},
    }
    return parse_infer(values, memoryview(raw[0] if len(raw) == 1 else b"".join(raw)))


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by name; one without a value is None."""
    parameters = {}
    for name, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        parameters[name] = getattr(parameter, choice) if choice is not None else None
    return parameters


def _contents(tensor: Any, share: Share) -> list[Any]:
    """The numbers, or the elements of BYTES, of typed contents."""
    wanted = _FIELDS.get(tensor.datatype)
    if wanted is None:
        return []  # what is wrong with the datatype is said with that of others
    for field, _ in tensor.contents.ListFields():
        if field.name != wanted:
            raise InputError(
                f"{tensor.name[:60]!r} is {tensor.datatype} and has {field.name}; expected {wanted}, or "
                "raw_input_contents."
            )
    return listed(tensor.contents, wanted, tensor.name, "raw_input_contents", share)


def write_infer(inferred: Inferred) -> Any:
    """An answer with its outputs in raw_output_contents: Triton's client reads no others.

    Whether images are none of the classes is the parameter `rejected`, JSON in a text.
    """
    message = message_class(RESPONSE)()
    message.model_name, message.model_version = inferred.model, str(inferred.version)
    message.id = inferred.id or ""
    if inferred.rejected is not None:
        message.parameters["rejected"].string_param = json.dumps(inferred.rejected)
    for wanted, values in inferred.outputs:
        datatype, shape = form_of(values)
        message.outputs.add(name=wanted.name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(packed(values))
    return message

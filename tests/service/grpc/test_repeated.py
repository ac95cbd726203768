"""Values in fields of their own: bounded in number and memory, the same in both protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.errors import BusyError, InputError
from service.bodies.memory import Memory, Share
from service.grpc.infer_messages import read_infer
from service.grpc.messages import message_class
from service.grpc.tensor_protos import read_tensor
from service.protocols.asking import JSON_VALUES
from service.protocols.tensors import InferRequest


def inference(kind: str, values: list[Any], share: Share) -> InferRequest:
    """What is read of a message of the Open Inference Protocol."""
    message = message_class("inference.ModelInferRequest")()
    tensor = message.inputs.add(name="image", datatype=kind, shape=[len(values)])
    getattr(tensor.contents, "bool_contents" if kind == "BOOL" else "uint_contents").extend(values)
    return read_infer(message, share)


def tensorflow(kind: str, values: list[Any], share: Share) -> InferRequest:
    """What is read of a tensor of TensorFlow's."""
    tensor = message_class("tensorflow.TensorProto")(dtype=f"DT_{kind}")
    tensor.tensor_shape.dim.add(size=len(values))
    getattr(tensor, "bool_val" if kind == "BOOL" else "int_val").extend(values)
    return read_tensor(tensor, None, share)


READERS = pytest.mark.parametrize("read", [inference, tensorflow])
Read = Callable[[str, list[Any], Share], InferRequest]


@READERS
def test_their_number_is_bounded(read: Read) -> None:
    with pytest.raises(
        InputError, match=r"'image' has .* numbers in (uint_contents|int_val); at most .* Send them in"
    ):
        read("UINT8", [1] * (JSON_VALUES + 1), Share(Memory(1 << 30)))


@READERS
def test_so_is_their_memory(read: Read) -> None:
    memory = Memory(10_000)
    with pytest.raises(InputError, match="takes more than the 0 MiB there are for all"):
        read("UINT8", [1] * 1000, Share(memory))
    memory.add(9000)
    with pytest.raises(BusyError, match="what others sent fills"):
        read("UINT8", [1] * 100, Share(memory))


@READERS
def test_truth_becomes_numbers(read: Read) -> None:
    (tensor,) = read("BOOL", [True, False], Share(Memory(1 << 20))).inputs
    assert tensor.values.tolist() == [1, 0]

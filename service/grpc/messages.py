"""Classes of messages, made from the definitions in `protos/`.

They live in a pool of their own: a client of another server, in the same process, brings messages of the same names.
`make protos` compiles the definitions into `protos/descriptors.binpb`, which no version of protobuf has to match.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from models.errors import InputError

DESCRIPTORS = Path(__file__).parent / "protos" / "descriptors.binpb"


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = _pool()


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def parsed(name: str, data: bytes) -> Any:
    """The message that bytes are.

    Raises:
        InputError: they are none.
    """
    try:
        return message_class(name).FromString(data)
    except DecodeError:
        raise InputError(f"what came is no {name}. Send one, whole.") from None


def message_of(name: str, values: Mapping[str, Any]) -> Any:
    """A message with the values of its JSON."""
    return json_format.ParseDict(values, message_class(name)(), descriptor_pool=POOL)

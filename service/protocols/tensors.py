"""Tensors of the Open Inference Protocol: in JSON, and in bytes behind it (Triton's binary tensor data extension).

    {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 64, 64, 3],
                 "parameters": {"binary_data_size": 12288}}]}<12288 bytes>

Whatever the bytes are, an InputError is all that is raised. Sources: the definitions in Triton's repository, under
`docs/protocol`, and those of the protocol at https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import InputError
from models.runtime import Array

BYTES = "BYTES"
# What is little-endian on the wire; BOOL is a byte.
DATATYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_RANK = 32  # NumPy's own limit is 64
_TENSORS = 16  # of a request
_MOST_COUNTED = 1 << 60  # numbers of 8 bytes
LENGTH = struct.Struct("<I")  # before each element of BYTES
_MODEL = ("model_name", "model_version")  # stand in the path, too
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end", "priority")


@dataclass(frozen=True)
class Tensor:
    """An input of a request.

    `values` is an array of the shape, of the datatype where it came in binary, else float64; of BYTES it is a list of
    the elements: bytes, or text where they came in JSON.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any

    @property
    def is_whole(self) -> bool:
        """Whether its numbers have no fractions."""
        return not self.datatype.startswith("FP")


@dataclass(frozen=True)
class Wanted:
    """An output that a request asks for: in binary or JSON; the best `classes` of it where that is not 0."""

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A request. `outputs` is None where all are wanted, then `binary` says how; `timeout_s` is what it has itself.

    `model`: name and version that its JSON says once more, as KServe's client does; "" where it does not.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Wanted, ...] | None = None
    id: str | None = None
    binary: bool = False
    timeout_s: float | None = None
    model: tuple[str, str] = ("", "")


def split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body, and the bytes behind it. `header_length` is the value of Inference-Header-Content-Length.

    Raises:
        InputError: the length is no number, or is more than there is.
    """
    if header_length is None:
        return body, memoryview(b"")
    # int() takes more: signs, spaces, the digits of every script.
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
        raise InputError(
            f"Inference-Header-Content-Length is {header_length[:40]!r}; expected the bytes of the JSON before the "
            "binary tensors."
        )
    length = int(header_length)
    if length > len(body):
        raise InputError(
            f"Inference-Header-Content-Length is {length:,}, and the body has {len(body):,} bytes once it is unpacked."
        )
    return body[:length], memoryview(body)[length:]


def parse_infer(values: Any, data: memoryview) -> InferRequest:
    """A request, out of its parsed JSON and the bytes behind that.

    Raises:
        InputError: something in it is missing, surplus, of another kind, or lies about its size.
    """
    fields = _fields(values, "the request", {"inputs"}, {"id", "parameters", "outputs", *_MODEL})
    parameters = _parameters(fields, "the request", {"timeout", "binary_data_output", *_SEQUENCE})
    for name in _SEQUENCE:
        if parameters.get(name) not in (None, False, 0, ""):
            raise InputError(
                f"the parameter {name} is set; there are no sequences and no priorities here. Leave it out."
            )
    for name in ("id", *_MODEL):
        if not isinstance(fields.get(name, ""), str):
            raise InputError(f"{name} is {_shown(fields[name])}; expected text.")
    microseconds = parameters.get("timeout", 0)
    if not _is_count(microseconds):
        raise InputError(f"timeout is {_shown(microseconds)}; expected a number of microseconds.")
    binary = _flag(parameters, "binary_data_output", "the request")
    given = fields.get("outputs") or None
    return InferRequest(
        tuple(_inputs(fields["inputs"], data)),
        tuple(_outputs(given, binary)) if given is not None else None,
        fields.get("id"),
        binary,
        microseconds / 1e6 or None,
        (fields.get("model_name", ""), fields.get("model_version", "")),
    )


def _inputs(given: Any, data: memoryview) -> Iterator[Tensor]:
    names, offset = set[str](), 0
    for place, entry in enumerate(_entries(given, "inputs")):
        where = f"inputs[{place}]"
        fields = _fields(entry, where, {"name", "datatype", "shape"}, {"parameters", "data"})
        name = _name(fields, where, names)
        parameters = _parameters(fields, where, {"binary_data_size"})
        size = parameters.get("binary_data_size")
        if (size is None) == ("data" not in fields):
            raise InputError(
                f"the input {name!r} has {'no' if size is None else 'both'} data {'nor' if size is None else 'and'} "
                "binary_data_size; expected one of them."
            )
        datatype, shape = _datatype(fields["datatype"], name), _shape(fields["shape"], name)
        if size is None:
            yield Tensor(name, datatype, shape, _of_json(fields["data"], datatype, shape, name))
            continue
        if not _is_count(size) or size > len(data) - offset:
            raise InputError(
                f"binary_data_size of {name!r} is {_shown(size)}, and {len(data) - offset:,} bytes are left behind the "
                "JSON."
            )
        yield Tensor(name, datatype, shape, _of_bytes(data[offset : offset + size], datatype, shape, name))
        offset += size
    if offset < len(data):
        raise InputError(f"{len(data) - offset:,} bytes stand behind the last binary tensor; expected none.")


def _outputs(given: Any, binary: bool) -> Iterator[Wanted]:
    names = set[str]()
    for place, entry in enumerate(_entries(given, "outputs")):
        where = f"outputs[{place}]"
        fields = _fields(entry, where, {"name"}, {"parameters"})
        parameters = _parameters(fields, where, {"binary_data", "classification"})
        classes = parameters.get("classification", 0)
        if not _is_count(classes):
            raise InputError(f"classification is {_shown(classes)}; expected how many classes are wanted.")
        wanted_in_binary = _flag(parameters, "binary_data", where) if "binary_data" in parameters else binary
        yield Wanted(_name(fields, where, names), wanted_in_binary, classes)


# Parts of the JSON


def _entries(given: Any, where: str) -> Sequence[Any]:
    if not isinstance(given, list) or not 1 <= len(given) <= _TENSORS:
        raise InputError(f"{where} is {_shown(given)}; expected a list of 1 to {_TENSORS} tensors.")
    return given


def _fields(given: Any, where: str, needed: set[str], allowed: set[str]) -> dict[str, Any]:
    known = needed | allowed
    if not isinstance(given, dict) or not needed <= given.keys() <= known:
        raise InputError(
            f"{where} is {_shown(given)}; expected an object with {', '.join(sorted(needed))}, and perhaps "
            f"{', '.join(sorted(allowed))}."
        )
    return given


def _parameters(fields: dict[str, Any], where: str, known: set[str]) -> dict[str, Any]:
    given = fields.get("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"parameters of {where} are {_shown(given)}; expected an object.")
    for name in given:
        if name.startswith("shared_memory"):
            raise InputError("there is no shared memory here. Send tensors in the request.")
        if name not in known:
            raise InputError(
                f"the parameter {name[:60]!r} of {where} is not known; expected {', '.join(sorted(known))}."
            )
    return given


def _name(fields: dict[str, Any], where: str, names: set[str]) -> str:
    name = fields["name"]
    if not isinstance(name, str) or name in names:
        raise InputError(f"the name of {where} is {_shown(name)}; expected a text that no other one has.")
    names.add(name)
    return name


def _flag(parameters: dict[str, Any], name: str, where: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} of {where} is {_shown(value)}; expected true or false.")
    return value


def _datatype(given: Any, name: str) -> str:
    if not isinstance(given, str) or (given != BYTES and given not in DATATYPES):
        raise InputError(
            f"the datatype of {name!r} is {_shown(given)}; expected {BYTES}, {', '.join(DATATYPES)}."
        )
    return given


def _shape(given: Any, name: str) -> tuple[int, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= _RANK or not all(map(_is_count, given)):
        raise InputError(
            f"the shape of {name!r} is {_shown(given)}; expected 1 to {_RANK} whole numbers, none below 0."
        )
    # NumPy refuses sizes that it could not count, also where one of them is 0 and the others hold nothing.
    if 0 in given and math.prod(filter(None, given)) >= _MOST_COUNTED:
        raise InputError(f"the shape of {name!r} is {_shown(given)}; expected sizes that a tensor can have.")
    return tuple(given)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _shown(value: Any) -> str:
    """A value in an error, short however large it is."""
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        return f"{kind} of {len(value):,}: {', '.join(map(_shown_inside, list(value)[:6]))}"[:120]
    return _shown_inside(value)


def _shown_inside(value: Any) -> str:
    if isinstance(value, str):
        return ascii(value[:40])
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 64:
        return "a number of more than 64 bits"
    return "..." if isinstance(value, list | dict) else repr(value)


# Values


def _of_bytes(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> Any:
    count = math.prod(shape)
    if datatype == BYTES:
        return list(_elements(data, count, name))
    kind = DATATYPES[datatype]
    if count * kind.itemsize != len(data):
        raise InputError(
            f"{name!r} is {datatype} {list(shape)}, which takes {_shown_size(count * kind.itemsize)} bytes; its "
            f"binary_data_size is {len(data):,}."
        )
    # NumPy takes no empty buffer.
    return np.frombuffer(data, kind).reshape(shape) if count else np.zeros(shape, kind)


def _elements(data: memoryview, count: int, name: str) -> Iterator[bytes]:
    """Elements of BYTES, each behind its length."""
    # Each takes its length at least: a bound before anything is built.
    if count * LENGTH.size > len(data):
        raise InputError(
            f"{name!r} has {_shown_size(count)} elements, which take 4 bytes each at least; its binary_data_size is "
            f"{len(data):,}."
        )
    offset = 0
    for place in range(count):
        if len(data) - offset < LENGTH.size:
            raise InputError(
                f"element {place} of {name!r} is cut off: 4 bytes with its length were expected."
            )
        (length,) = LENGTH.unpack_from(data, offset)
        offset += LENGTH.size
        if length > len(data) - offset:
            raise InputError(
                f"element {place} of {name!r} says that it has {length:,} bytes, and {len(data) - offset:,} are left."
            )
        yield bytes(data[offset : offset + length])
        offset += length
    if offset < len(data):
        raise InputError(f"{len(data) - offset:,} bytes stand behind the last element of {name!r}.")


def _of_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> Any:
    count = math.prod(shape)
    if datatype == BYTES:
        texts = data if isinstance(data, list) else []
        # Bytes come by other ways than JSON.
        if len(texts) != count or not all(isinstance(text, str | bytes) for text in texts):
            raise InputError(
                f"the data of {name!r} is {_shown(data)}; expected {_shown_size(count)} texts, each base64 of an image."
            )
        return texts
    array, _ = numbers(data, name, whole=not datatype.startswith("FP"))
    if array.shape != shape and array.shape != (count,):
        raise InputError(
            f"the data of {name!r} has the shape {list(array.shape)}; expected {list(shape)}, or all in one list."
        )
    return array.reshape(shape)


def numbers(data: Any, name: str, *, whole: bool = False) -> tuple[Array, bool]:
    """Nested lists of numbers as an array of float64, and whether none of them is written with a fraction.

    Raises:
        InputError: something else is in them, they are of different lengths, or they have fractions and are `whole`.
    """
    allowed = {int} if whole else {int, float}
    parts, fractions = [data], False
    while parts:
        part = parts.pop()
        kinds = set(map(type, part)) if isinstance(part, list) else {type(part)}
        if kinds == {list}:
            parts.extend(part)
        elif not isinstance(part, list) or not kinds <= allowed:
            words = "whole numbers" if whole else "numbers"
            raise InputError(f"the data of {name!r} holds {_shown(part)}; expected lists of {words}.")
        else:
            fractions = fractions or float in kinds
    try:
        return np.array(data, np.float64), not fractions
    except (
        ValueError,
        OverflowError,
    ) as exc:  # lists of different lengths, or too deep; a number that is too large
        raise InputError(f"the data of {name!r} is no tensor ({str(exc)[:100]}).") from exc


def _shown_size(count: int) -> str:
    return f"{count:,}" if count < 1 << 64 else "more than 2^64"

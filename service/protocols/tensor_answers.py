"""Answers of the Open Inference Protocol: outputs in JSON, in bytes behind it, or as classes.

Sources: as for `service.protocols.tensors`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.runtime import Array
from service.protocols.tensors import BYTES, DATATYPES, LENGTH, Wanted


def classes_of(values: Array, wanted: int, labels: Sequence[str]) -> list[list[bytes]]:
    """The classification extension: for each row of (N, C) the best ones as "value:index:label", the best first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :wanted]  # (N, wanted)
    named = len(labels) == values.shape[1]
    return [
        [f"{row[i]:.6f}:{i}{f':{labels[i]}' if named else ''}".encode() for i in indices]
        for row, indices in zip(values, order, strict=True)
    ]


def write_answer(
    head: dict[str, Any], outputs: Sequence[tuple[Wanted, Array | list[list[bytes]]]]
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where binary tensors stand behind that.

    `head` is what stands beside the outputs; an output is an array, or rows of BYTES.
    """
    entries, parts = [], list[bytes]()
    for wanted, values in outputs:
        array = values if isinstance(values, np.ndarray) else None
        datatype, shape = form_of(values)
        entry: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": list(shape)}
        if wanted.binary:
            data = packed(values)
            entry["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        elif array is not None:
            entry["data"] = array.ravel().tolist()
        else:
            entry["data"] = [element.decode() for row in values for element in row]
        entries.append(entry)
    # ASCII, so that any id can be told back.
    header = json.dumps({**head, "outputs": entries}, separators=(",", ":")).encode("ascii")
    return b"".join([header, *parts]), len(header) if any(wanted.binary for wanted, _ in outputs) else None


def form_of(values: Array | list[list[bytes]]) -> tuple[str, tuple[int, ...]]:
    """Datatype and shape of an output."""
    if isinstance(values, np.ndarray):
        return datatype_of(values.dtype), values.shape
    return BYTES, (len(values), len(values[0]) if values else 0)


def packed(values: Array | list[list[bytes]]) -> bytes:
    """An output in binary."""
    if isinstance(values, np.ndarray):
        return values.astype(DATATYPES[datatype_of(values.dtype)], copy=False).tobytes()
    return b"".join(LENGTH.pack(len(element)) + element for row in values for element in row)


def datatype_of(kind: np.dtype[Any]) -> str:
    """What the protocol calls a dtype of NumPy."""
    if kind == np.bool_:
        return "BOOL"
    little = kind.newbyteorder("<")
    return next(name for name, known in DATATYPES.items() if known == little and name != "BOOL")

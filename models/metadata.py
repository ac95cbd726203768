"""What stands beside the card in a network's metadata, and is true of just this network: it goes when that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

PROOF = "graft.proof"  # inputs and the answers to them: `models.proof`
REFERENCE = "graft.reference"  # what its training images look like: `models.reference`
MEASURED = (PROOF, REFERENCE)
T = TypeVar("T")


def read_entry(text: str, newest: int, build: Callable[[Any], T], what: str, where: str) -> T:
    """What `build` makes of an entry's JSON, an object with a "format"; it may raise whatever bad values raise.

    `newest`: the format that this version writes; `what`: the entry says, for errors; `where` names the file in them.

    Raises:
        ModelError: it cannot be read, or has a later format.
    """
    try:
        values = json.loads(text)
        written = values["format"]
        if isinstance(written, int) and written > newest:
            raise ModelError(f"{where}: {what}: format {written}; this version reads {newest}. Update graft.")
        if written != newest:
            raise ValueError(f"format {written!r}")
        return build(values)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError) as exc:
        raise ModelError(
            f"{where}: {what} cannot be read ({exc!r}). The file is damaged: get it again."
        ) from exc


def put_entry(model: ModelProto, key: str, text: str) -> None:
    """Put an entry into a network's metadata, in place of one that is there."""
    drop_entries(model, (key,))
    model.metadata_props.add(key=key, value=text)


def drop_entries(model: ModelProto, keys: tuple[str, ...] = MEASURED) -> None:
    """Take entries out of a network's metadata: those that were measured on it, where it is another one now."""
    for position in reversed(range(len(model.metadata_props))):
        if model.metadata_props[position].key in keys:
            del model.metadata_props[position]

"""What stands beside the card in a network's metadata, and is true of just this network: it goes when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

PROOF = "graft.proof"  # inputs and the answers to them: `models.proof`
REFERENCE = "graft.reference"  # what its training images look like: `models.reference`
MEASURED = (PROOF, REFERENCE)


def put_entry(model: ModelProto, key: str, text: str) -> None:
    """Put an entry into a network's metadata, in place of one that is there."""
    drop_entries(model, (key,))
    model.metadata_props.add(key=key, value=text)


def drop_entries(model: ModelProto, keys: tuple[str, ...] = MEASURED) -> None:
    """Take entries out of a network's metadata: those that were measured on it, where it is another one now."""
    for position in reversed(range(len(model.metadata_props))):
        if model.metadata_props[position].key in keys:
            del model.metadata_props[position]

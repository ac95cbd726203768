"""Features of a part that Ctrl-C ended before it was full: kept beside the parts, so that nothing is computed twice."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from feature_extraction.worker import Vectors
from models.errors import GraftError, ImageError
from models.files import write_atomically
from models.runtime import Array

NAME = "unfinished.npz"
_FACTS = "facts"


def keep(folder: Path, batches: Sequence[Vectors], settings: Mapping[str, Any], part: int) -> None:
    """Write down what is there of a part, with the settings that it was computed by.

    Raises:
        OutputError: the disk is full or the folder not writable.
    """
    facts = {
        "settings": settings,
        "part": part,
        "names": [name for batch in batches for name in batch.names],
        "ids": [name for batch in batches for name in batch.ids],
        "failures": [(name, str(error)) for batch in batches for name, error in batch.failures],
    }
    filled = [batch for batch in batches if batch.ids]
    arrays = {
        f"cut {i}": np.concatenate([batch.arrays[cut] for batch in filled])
        for i, cut in enumerate(filled[0].arrays if filled else ())
    }
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **{_FACTS: text}, **arrays)  # type: ignore[arg-type]  # its stub takes names for options
    write_atomically(folder / NAME, stream.getvalue())


def kept(folder: Path, blank: Mapping[str, Array], settings: Mapping[str, Any], part: int) -> Vectors | None:
    """What was kept of a part, where the settings are the same; None where there is nothing that can be used."""
    try:
        with np.load(io.BytesIO((folder / NAME).read_bytes()), allow_pickle=False) as file:
            facts = json.loads(file[_FACTS].tobytes())
            if facts["settings"] != json.loads(json.dumps(settings)) or facts["part"] != part:
                return None
            ids = facts["ids"]
            arrays = {cut: file[f"cut {i}"] for i, cut in enumerate(blank)} if ids else dict(blank)
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):  # there is none, or half of one
        return None
    if any(
        len(array) != len(ids) or array.shape[1:] != blank[cut].shape[1:] for cut, array in arrays.items()
    ):
        return None
    failures: list[tuple[str, GraftError]] = [(name, ImageError(error)) for name, error in facts["failures"]]
    return Vectors(facts["names"], ids, arrays, failures)

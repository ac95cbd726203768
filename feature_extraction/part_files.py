"""What a finished part is made of: its files, its line in the manifest, its rows of the index.

One run and many processes write the same, because all of them write this.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from feature_extraction.formats import FORMATS, Format
from feature_extraction.manifest import Part, names_digest
from feature_extraction.worker import Vectors
from models.runtime import Array

FAILED = "failed.jsonl"
INDEX = "index.csv"
WORK = ".parts"  # in the folder: the plan of several processes, and what they know of parts until these are merged
PLAN = f"{WORK}/plan.jsonl"
INDEX_HEAD = b"id,part,row\n"
PART_IMAGES = 1024  # of the source, in a part
PART_BYTES = 32 << 20  # of features; large maps have fewer images in a part
_DIGITS = 5
_IDS = ".ids.json"


def part_size(blank: Mapping[str, Array], batch_size: int, most: int | None = None) -> int:
    """How many images a part covers: whole batches, whatever the features' size; `most`: None is `PART_IMAGES`."""
    each = sum(array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in blank.values())
    wanted = min(most or PART_IMAGES, PART_BYTES // max(each, 1))
    return max(1, wanted // batch_size) * batch_size


def stem(number: int) -> str:
    """How the names of a part's files begin.

    A letter stands before numbers of six digits and more, so that names sort as numbers do: `part-99999`, then
    `part-a100000`.
    """
    digits = f"{number:0{_DIGITS}}"
    letter = chr(ord("a") + len(digits) - _DIGITS - 1) if len(digits) > _DIGITS else ""
    return f"part-{letter}{digits}"


def encoded_part(
    form: Format, number: int, blank: Mapping[str, Array], batches: Sequence[Vectors]
) -> tuple[dict[str, bytes], Part]:
    """The files of a part, whole, and what the manifest says of it."""
    ids = [name for batch in batches for name in batch.ids]
    arrays = {
        cut: np.concatenate([empty, *(batch.arrays[cut] for batch in batches if batch.ids)])
        for cut, empty in blank.items()
    }
    names = [name for batch in batches for name in batch.names]
    failed = [{"id": name, "error": str(error)} for batch in batches for name, error in batch.failures]
    files = FORMATS[form](stem(number), ids, arrays)
    facts = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    }
    return files, Part(number, len(names), names_digest(names), len(ids), failed, facts)


def failure_lines(parts: Iterable[Part]) -> Iterator[bytes]:
    """The report of failures: a JSON object a line, for each image that could not be read."""
    for part in parts:
        for failure in part.failed:
            yield json.dumps(failure).encode() + b"\n"


def index_rows(part: Part, read: Callable[[str], bytes]) -> bytes:
    """The rows of the index for a part of NumPy files: in which part and row the features of an image stand."""
    ids = json.loads(read(next(name for name in part.files if name.endswith(_IDS))))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows((name, part.part, row) for row, name in enumerate(ids))
    return table.getvalue().encode("utf-8", "replace")

"""Several labels in one cell of a list: `hat;red`, a JSON list, or a list as Python writes it."""

from __future__ import annotations

import ast
import json
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from io import StringIO
from typing import Any

from models.errors import SourceError
from models.wording import listed

SEPARATORS = (";", "|", ",")


def labels_in(text: str, separator: str | None, where: str) -> list[str]:
    """The labels that a cell names, as they stand there; none of an empty cell or list.

    A cell that begins with `[` is a list of JSON or Python; others are parted by `separator` (None: one label).

    Raises:
        SourceError: a list that cannot be read, or of something else than texts and whole numbers.
    """
    if text.startswith("["):
        return _listed_labels(text, where)
    parts = [text] if separator is None else text.split(separator)
    return [name for part in parts if (name := part.strip())]


def separator_of(source: str, column: str, cells: Collection[str], given: str | None) -> str | None:
    """What parts the labels of a cell: what the caller says, or the one of `SEPARATORS` that stands in cells.

    Raises:
        SourceError: several of them stand there, or the one that is given in none of them.
    """
    plain = [cell for cell in cells if not cell.startswith("[")]
    if given is not None:
        if not given or not any(given in cell for cell in plain):
            raise SourceError(
                f"{source}: no cell of its column {column!r} holds {given!r} (--label-separator); it holds "
                f"{listed(sorted(set(plain)), 3) or 'lists'}. Leave it out, or give what stands between the labels."
            )
        return given
    used = [sign for sign in SEPARATORS if any(sign in cell for cell in plain)]
    if len(used) > 1:
        example = next(cell for cell in plain if used[0] in cell)
        raise SourceError(
            f"{source}: in its column {column!r} stand {' and '.join(map(repr, used))}, such as in {example!r}, and "
            "each may part labels. Say which with --label-separator, or give JSON lists."
        )
    return used[0] if used else None


def several_labels(classes: Sequence[str]) -> list[str]:
    """Those of the classes that look like several labels each: names with a separator, whose parts stand in others."""
    for sign in SEPARATORS:
        parts = {name: {part.strip() for part in name.split(sign)} - {""} for name in classes}
        shared = Counter(part for each in parts.values() for part in each)
        long = [name for name, each in parts.items() if len(each) > 1]
        if len(long) > 1 and any(shared[part] > 1 for name in long for part in parts[name]):
            return long
    return []


def combination(labels: Iterable[str]) -> str:
    """Labels as one text, `hat;red`, or as a JSON list where one of them holds a separator: a cell that reads back."""
    names = list(labels)
    if any(name.startswith("[") or any(sign in name for sign in SEPARATORS) for name in names):
        return json.dumps(names, ensure_ascii=False)
    return SEPARATORS[0].join(names)


def _listed_labels(text: str, where: str) -> list[str]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        try:
            values = _literal(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
            raise SourceError(
                f'{where}: {text:.60} is no list of JSON or Python, such as ["hat", "red"]. Correct the cell.'
            ) from exc
    if not isinstance(values, list) or any(
        isinstance(one, bool) or not isinstance(one, str | int) for one in values
    ):
        raise SourceError(
            f'{where}: {text:.60}; expected a list of names, such as ["hat", "red"]. Correct the cell.'
        )
    return [name for one in values if (name := str(one).strip())]


def _literal(text: str) -> Any:
    """What Python writes so.

    Raises:
        ValueError: among others, texts with no comma between them, as NumPy prints them, which Python joins to one.
    """
    values = ast.literal_eval(text)
    texts = sum(token.type == tokenize.STRING for token in tokenize.generate_tokens(StringIO(text).readline))
    if isinstance(values, list) and texts != sum(isinstance(one, str) for one in values):
        raise ValueError("a comma is missing")
    return values

"""Plain text for people: bars, and columns that line up."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉"
# C0, C1, and what ends lines or turns the direction of writing: a name could pretend to be another.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def bar(share: float, width: int) -> str:
    """A bar of `share` (0 to 1) of `width` cells, padded to it; in eighths of a cell where the stream has them."""
    share = min(1.0, max(0.0, share))  # also turns NaN into 0
    if not _encodable("█▏"):
        return ("#" * round(share * width)).ljust(width)
    full, eighth = divmod(round(share * width * 8), 8)
    return ("█" * full + (_EIGHTHS[eighth] if eighth else "")).ljust(width)


def clean(text: str) -> str:
    """A name without control characters, which a terminal would obey, and without what the stream cannot write."""
    return encodable(_CONTROL.sub("?", text))


def encodable(text: str) -> str:
    """A text with `?` for what standard output cannot write."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def width_of(text: str) -> int:
    """Cells that a text takes on a terminal: East Asian signs take two, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(unicodedata.combining(sign) > 0 for sign in text)


def fit(text: str, width: int) -> str:
    """A text cut or padded to exactly `width` cells."""
    if width_of(text) > width:
        dots = "…" if _encodable("…") else "."
        while width_of(text) > width - 1:
            text = text[:-1]
        text += dots
    return text + " " * (width - width_of(text))


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells in columns that line up; those in `right` stand right; the last one wraps at the screen's width."""
    screen = terminal_width()
    widths = [max(width_of(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            " " * (width - width_of(cell)) + cell if i in right else fit(cell, width)
            for i, (cell, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        lead = "".join(f"{cell}  " for cell in cells)
        last = " " * (widths[-1] - width_of(row[-1])) + row[-1] if len(row) - 1 in right else row[-1]
        wrapped = textwrap.wrap(last, max(20, screen - width_of(lead))) or [""]
        lines += [lead + wrapped[0], *(" " * width_of(lead) + line for line in wrapped[1:])]
    return "\n".join(line.rstrip() for line in lines)


def terminal_width() -> int:
    """Cells in a line: the terminal's, at most 100; 80 where there is none."""
    return min(100, shutil.get_terminal_size((80, 24)).columns)


def _encodable(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True

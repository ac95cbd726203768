"""How messages list names, count things, tell what has changed, and quote what libraries say."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any


def listed(names: Sequence[str], most: int = 5) -> str:
    """ "a, b", and of many the first: "a, b, c, d, e and 1,200 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(count: int, word: str) -> str:
    """ "1 image", "2,000 images", "2 classes"."""
    return f"{count:,} {word}{'' if count == 1 else 'es' if word.endswith('s') else 's'}"


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC): macOS writes an umlaut as two signs, others as one."""
    return unicodedata.normalize("NFC", text)


def percent(share: float, digits: int = 1) -> str:
    """0.5 -> "50.0 %"."""
    return f"{100 * share:.{digits}f} %"


def size(octets: float) -> str:
    """Bytes in MB (10^6), or in kB where there are few."""
    return f"{octets / 1e6:,.1f} MB" if octets >= 1e6 or not octets else f"{octets / 1e3:,.1f} kB"


def first_line(exc: Exception) -> str:
    """What a library says went wrong, as far as a message has room for it; its kind where it says nothing."""
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """ "recipe.seed was 0, is 1" for each value that differs between nested dictionaries, in the order of the names."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {old!r:.60}, is {new!r:.60}"

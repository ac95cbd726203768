"""Parameters in the address of a request. What is not known is an error: a misspelt one would be lost silently."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from models.errors import InputError


def check_known(given: Mapping[str, str], *known: str) -> None:
    """Refuse parameters that do not exist.

    Raises:
        InputError: there is one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"parameter {unknown[0]!r} is not known; expected {', '.join(known) or 'none'}.")


def whole_number(given: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that is a whole number of at least 1.

    Raises:
        InputError: it is something else.
    """
    text = given.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise InputError(f"{name} is {text[:40]!r}; expected a whole number of at least 1.")
    return min(value, sys.maxsize)


def choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """A parameter that is one of some words; the first is the default.

    Raises:
        InputError: it is something else.
    """
    value = given.get(name, choices[0])
    if value not in choices:
        raise InputError(f"{name} is {value[:40]!r}; expected {' or '.join(choices)}.")
    return value

"""Parameters in the address of a request, as a dataclass of settings has them.

What is not known is an error: a misspelt one would be lost silently.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from models.errors import InputError
from models.settings import Setting, settings, settings_of

Parameters = TypeVar("Parameters")
# int() takes more: underscores, spaces, the digits of every script.
_WHOLE = re.compile(r"-?[0-9]+")


@settings
class NoParameters:
    """A route whose address says all."""


def parse_parameters(
    kind: type[Parameters], query: MultiDict[str, str], path: Mapping[str, str]
) -> Parameters:
    """The parameters of a request; what it does not say has its default.

    Raises:
        InputError: one is not known, is given twice, or is out of range.
    """
    form: Any = kind  # mypy takes no variable type for hashable
    known = parameters_of(form)
    values = {known[name][0]: _parsed(known[name][1], text) for name, text in path.items()}
    for name, texts in query.lists():
        if name not in known or name in path:
            names = ", ".join(one for one in known if one not in path) or "none"
            raise InputError(f"parameter {name[:40]!r} is not known; expected {names}.")
        field, one = known[name]
        if one.many:  # a comma may stand in a name: each has a parameter of its own
            values[field] = one.checked(tuple(texts))
            continue
        if len(texts) > 1:
            raise InputError(f"{name} is given {len(texts)} times; expected it once.")
        values[field] = _parsed(one, texts[0])
    return kind(**values)


def _parsed(one: Setting, text: str) -> Any:
    if one.kind is int and not _WHOLE.fullmatch(text):
        raise InputError(f"{one.name} is {text[:40]!r}; expected {one.expected}.")
    return one.parse(text)


@functools.cache
def parameters_of(kind: type) -> dict[str, tuple[str, Setting]]:
    """For each parameter by its name in an address: the field, and what is known of it.

    A field that would be a word of Python has an underscore behind it, which the address does without.
    """
    names = {name: name.rstrip("_") for name in settings_of(kind)}
    return {
        names[name]: (name, dataclasses.replace(one, name=names[name]))
        for name, one in settings_of(kind).items()
    }

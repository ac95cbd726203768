"""From JSON to a model card's dataclasses, strictly."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal


def finite(value: Any) -> Any:
    """A value of JSON without numbers that JSON has no way to write: those are null."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache  # labels come by the thousand
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def built(kind: Any, value: Any) -> Any:
    """Turn parsed JSON into `kind`: a dataclass, a tuple, an optional or a plain value.

    Raises:
        ValueError: unknown fields, or a value that is none of those expected.
        TypeError: a value of another kind.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"unknown fields {', '.join(unknown)}")
        return kind(**{name: built(hints[name], item) for name, item in value.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        each = arguments[0]
        items = tuple(built(each, item) for item in value)
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise ValueError(f"expected {len(arguments)} values, got {items}")
        return items
    if origin in (typing.Union, types.UnionType):
        return None if value is None else built(arguments[0], value)
    if origin is collections.abc.Mapping:
        origin, kind = None, dict
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"expected one of {arguments}, got {value!r}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value

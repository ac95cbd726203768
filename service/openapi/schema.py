"""JSON Schema (draft 2020-12, as OpenAPI 3.1 has it) of Python types: what answers are made of, and settings."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from models.settings import Setting

Schema = dict[str, Any]
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of a type; those of classes go into `definitions` by their names, and are referred to.

    A text in `Annotated` is the description. None stands for bytes.

    Raises:
        TypeError: a type that JSON has not.
    """
    if kind is None:
        return {"type": "string", "format": "binary"}
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_typeddict(kind) or dataclasses.is_dataclass(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # it may hold itself
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {**schema_of(arguments[0], definitions), "description": arguments[1]}
    if origin is NotRequired:
        return schema_of(arguments[0], definitions)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, definitions) for one in arguments]}
    if origin in (list, tuple, Sequence):
        return _array(origin, arguments, definitions)
    if origin in (dict, Mapping) and arguments[0] is str:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], definitions)}
    raise TypeError(f"{kind} is no type that JSON has.")


def schema_of_setting(one: Setting) -> Schema:
    """The schema of a parameter."""
    kind: Schema = {"enum": list(one.choices)} if one.choices else {}
    kind["type"] = _PLAIN[one.kind]
    bounds = {
        "minimum": one.least, "exclusiveMinimum": one.above, "maximum": one.most, "exclusiveMaximum": one.below
    }  # fmt: skip
    kind |= {name: bound for name, bound in bounds.items() if bound is not None}
    if one.many:
        return {"type": "array", "items": kind}
    if one.default not in (None, ""):
        kind["default"] = one.default
    return kind


def _object(kind: Any, definitions: dict[str, Schema]) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        required = [field.name for field in dataclasses.fields(kind)]
        hints = {name: hints[name] for name in required}
    else:
        # Where annotations are text, `__required_keys__` knows of `total` alone.
        required = [
            name
            for name, hint in hints.items()
            if name in kind.__required_keys__ and get_origin(hint) is not NotRequired
        ]
    schema: Schema = {
        "type": "object",
        "properties": {name: schema_of(hint, definitions) for name, hint in hints.items()},
    }
    if required:
        schema["required"] = required
    if kind.__doc__:
        schema["description"] = kind.__doc__.partition("\n")[0]
    return schema


def _array(origin: Any, arguments: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    if origin is tuple and Ellipsis not in arguments:
        places = [schema_of(one, definitions) for one in arguments]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
    return {"type": "array", "items": schema_of(arguments[0], definitions)}

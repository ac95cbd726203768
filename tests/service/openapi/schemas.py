"""A validator for the part of JSON Schema that our document uses: what differs from a schema, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
    "object": dict,
}  # fmt: skip


def differences(
    value: Any, schema: dict[str, Any], document: dict[str, Any], path: str = "$"
) -> Iterator[str]:
    """Places where a value is not as a schema has it. An object may have no members that the schema has not."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        yield from differences(value, document["components"]["schemas"][name], document, path)
        return
    if "anyOf" in schema:
        if all(list(differences(value, one, document)) for one in schema["anyOf"]):
            yield f"{path}: {value!r} is none of {schema['anyOf']}"
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{path}: {value!r} is no {kind}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    elif isinstance(value, dict) and kind == "object":
        known = schema.get("properties", {})
        yield from (f"{path}: lacks {name}" for name in schema.get("required", []) if name not in value)
        for name, one in value.items():
            inner = known.get(name, schema.get("additionalProperties"))
            if inner is None:
                yield f"{path}: {name} is not described"
            else:
                yield from differences(one, inner, document, f"{path}.{name}")
    elif isinstance(value, list) and kind == "array":
        places = schema.get("prefixItems", [])
        if places and len(places) != len(value):
            yield f"{path}: {len(value)} items in place of {len(places)}"
        for i, one in enumerate(value):
            inner = places[i] if i < len(places) else schema.get("items", {})
            yield from differences(one, inner, document, f"{path}[{i}]")

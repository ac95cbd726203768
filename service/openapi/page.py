"""The page at /docs: the OpenAPI document for people, one file that requests nothing but what it is asked to try."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from finetune.pages.environment import environment
from service.openapi.schema import Schema

HERE = Path(__file__).parent
BASE = "http://graft.invalid"  # stands for the address under which the page is asked for
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_MOST_NESTED = 6
_GROUPS = {"v1": "Classify, features, explain", "admin": "Administration", "description": "This description"}


@dataclass(frozen=True)
class Field:
    """A line of a table: a member of JSON, or a parameter."""

    name: str
    kind: str
    help: str
    needed: bool


@dataclass(frozen=True)
class Content:
    """What a body or an answer may be: its media type, and its members where it is JSON."""

    media: str
    kind: str
    fields: list[Field]


@dataclass(frozen=True)
class Entry:
    """A route as it is shown."""

    method: str
    path: str
    anchor: str
    summary: str
    description: str
    token: str
    parameters: list[Field]
    bodies: list[Content]
    answers: list[Content]
    statuses: list[tuple[str, str]]
    curl: str
    python: str


def render(document: Mapping[str, Any]) -> tuple[str, str]:
    """The page about a document, with `BASE` for the service's address, and its Content-Security-Policy."""
    script = (HERE / "docs.js").read_text(encoding="utf-8")
    made = environment(HERE)
    style = made.globals["style"] + Markup((HERE / "docs.css").read_text(encoding="utf-8"))
    groups: dict[str, list[Entry]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation["tags"][0]
            title = _GROUPS.get(tag) or tag.replace("_", " ").capitalize()
            groups.setdefault(title, []).append(_entry(method, path, operation, document))
    page: str = made.get_template("docs.html").render(
        document=document, groups=groups, base=BASE, style=style, script=Markup(script)
    )
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; connect-src 'self'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def _digest(text: str) -> str:
    """What allows an inline element with this text, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _entry(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> Entry:
    schemas = document["components"]["schemas"]
    responses = operation["responses"]
    security = operation.get("security", [])
    token = "" if not security else "may be needed" if {} in security else "of the scope admin"
    content = operation.get("requestBody", {}).get("content", {})
    return Entry(
        method.upper(),
        path,
        f"{method}-{re.sub(r'[^a-z0-9]+', '-', path.lower()).strip('-')}",
        operation["summary"],
        operation.get("description", ""),
        token,
        [_parameter(one) for one in operation["parameters"]],
        [_content(media, one["schema"], schemas) for media, one in content.items()],
        [
            _content(media, one["schema"], schemas)
            for media, one in responses["200"].get("content", {}).items()
        ],
        [(status, one["description"]) for status, one in responses.items() if status != "200"],
        *_examples(method, path, content, schemas, bool(token) and {} not in security),
    )


def _parameter(one: Mapping[str, Any]) -> Field:
    kind = _kind(one["schema"])
    default = one["schema"].get("default")
    if default is not None:
        kind += f"; default: {default}"
    return Field(one["name"], kind, one["description"], one["required"])


def _content(media: str, schema: Schema, schemas: Mapping[str, Schema]) -> Content:
    return Content(media, _kind(schema), list(_fields(schema, schemas, "", 0)))


def _fields(schema: Schema, schemas: Mapping[str, Schema], before: str, depth: int) -> Iterator[Field]:
    """Members of an object, and of the objects in it, by names such as `results[].image`."""
    if depth > _MOST_NESTED:
        return
    if "$ref" in schema:
        yield from _fields(schemas[_name(schema)], schemas, before, depth + 1)
    for one in schema.get("anyOf", ()):
        yield from _fields(one, schemas, before, depth + 1)
    if "items" in schema:
        yield from _fields(schema["items"], schemas, f"{before}[]", depth + 1)
    for name, one in schema.get("properties", {}).items():
        full = f"{before}.{name}" if before else name
        yield Field(full, _kind(one), one.get("description", ""), name in schema.get("required", ()))
        yield from _fields(one, schemas, full, depth + 1)


def _kind(schema: Schema) -> str:
    """A type in words."""
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("format") == "binary":
        return "bytes"
    kind: str = schema.get("type", "anything")
    if kind == "array":
        inner: Schema = schema.get("items") or (*schema.get("prefixItems", ()), {})[0]
        return f"list of {_kind(inner)}"
    bounds = [f"from {schema['minimum']:g}"] if "minimum" in schema else []
    bounds += [f"to {schema['maximum']:g}"] if "maximum" in schema else []
    return " ".join([_WORDS.get(kind, kind), *bounds])


def _name(schema: Schema) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def _examples(
    method: str, path: str, content: Mapping[str, Any], schemas: Mapping[str, Schema], token: bool
) -> tuple[str, str]:
    """A call with curl, and with Python's requests."""
    url = BASE + re.sub(r"{(\w+)}", lambda one: one[1].upper(), path)
    options, arguments = [], [f'"{url}"']
    if method not in ("get", "post") or (method == "post" and not content):
        options.append(f"-X {method.upper()}")
    if token:
        options.append('-H "Authorization: Bearer $TOKEN"')
        arguments.append('headers={"Authorization": f"Bearer {token}"}')
    if "multipart/form-data" in content:
        options.append("-F image=@photo.jpg")
        arguments.append('files={"image": open("photo.jpg", "rb")}')
    elif content:
        media, one = next(iter(content.items()))
        sample = _sample(one["schema"], schemas, 0)
        if media == "application/json" and sample:
            options.append(f"--json '{json.dumps(sample)}'")
            arguments.append(f"json={sample!r}")
    listed = ",\n    ".join(arguments)
    call = f"answer = requests.{method}(\n    {listed},\n)"
    return " ".join(["curl", *options, url]), f"import requests\n\n{call}\nprint(answer.json())"


def _sample(schema: Schema, schemas: Mapping[str, Schema], depth: int) -> Any:
    """A value as a schema has it, with what is required alone."""
    if "$ref" in schema:
        return _sample(schemas[_name(schema)], schemas, depth + 1)
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], schemas, depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" and depth <= _MOST_NESTED:
        known = schema.get("properties", {})
        return {name: _sample(known[name], schemas, depth + 1) for name in schema.get("required", ())}
    if kind == "array":
        return [_sample(schema.get("items", {}), schemas, depth + 1)]
    return {"string": "...", "integer": 1, "number": 1.0, "boolean": True}.get(str(kind))

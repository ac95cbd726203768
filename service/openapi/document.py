"""The OpenAPI 3.1 document, made of the routes as they are declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from models.settings import Setting
from service.openapi.parameters import parameters_of
from service.openapi.routes import JSON, Route
from service.openapi.schema import Schema, schema_of, schema_of_setting

VERSION = "3.1.0"
# Why a request is refused, by status: what may happen anywhere, and below what a route declares for itself.
ANYWHERE = {
    400: "The request makes no sense: a parameter, a header, or its body.",
    408: "The request came too slowly.",
    417: "An `Expect` other than `100-continue`.",
    429: "As many requests are worked on, or images wait, as may. `Retry-After` says when to come again.",
    431: "The header is too long, or has too many lines.",
    500: "A fault of the service; its log has more.",
    503: "Not now: a model is being loaded, or there is no memory left for the body. `Retry-After` says when to come "
    "again.",
}
OF_BODIES = {
    413: "The body is larger than this service takes, packed or unpacked.",
    415: "A content type that holds no images, or a coding of the content other than gzip and deflate.",
    422: "None of the images could be read.",
    499: "The client left before its answer was ready; it stands in the log alone.",
    504: "The answer was not ready in time. What had not begun by then was not done.",
}
OF_TOKENS = {
    401: "No token that is known here. Send `Authorization: Bearer TOKEN`.",
    403: "A token for something else, or administration is off.",
}
OTHERS = {
    404: "Nothing of this name or id is here.",
    409: "What is asked does not go with what stands there now.",
    507: "No room is left for what is to be kept.",
}
MEANINGS = {**ANYWHERE, **OF_BODIES, **OF_TOKENS, **OTHERS}
_OPEN = "open"
_IN_PATH = "^[^/:]+$"  # behind a colon stands what is to be done, in addresses of TensorFlow Serving
_WITH_RETRY_AFTER = (429, 503)


def openapi(routes: Iterable[Route], access: Mapping[str, str], version: str) -> dict[str, Any]:
    """The document about some routes.

    `access`: for each group of them the scope of the token that is needed, or open. `version`: the service's.
    """
    schemas: dict[str, Schema] = {}
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, access[route.tag], schemas)
        tags[route.tag] = None
    return {
        "openapi": VERSION,
        "info": {
            "title": "Graft",
            "version": version,
            "description": "Says what is on images, turns them into feature vectors, and shows where a class is seen.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "tags": [{"name": name} for name in tags],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, scope: str, schemas: dict[str, Schema]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": [
            _parameter(one, "path" if name in route.path_parameters else "query")
            for name, (_, one) in parameters_of(route.parameters).items()
        ],
        "responses": _responses(route, scope, schemas),
    }
    if scope != _OPEN:
        # Nothing is needed to infer where the service has no tokens for it.
        operation["security"] = [{}, {"token": []}] if scope == "infer" else [{"token": []}]
    if route.description:
        operation["description"] = route.description
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body, schemas)}
    return operation


def _parameter(one: Setting, place: str) -> dict[str, Any]:
    unset = f" Without it: {one.unset}." if one.unset else ""
    schema = schema_of_setting(one)
    if place == "path" and one.kind is str:
        schema["pattern"] = _IN_PATH
    return {
        "name": one.name,
        "in": place,
        "required": place == "path",
        "description": one.help + unset,
        "schema": schema,
    }


def _responses(route: Route, scope: str, schemas: dict[str, Schema]) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(route.status): {"description": "The answer.", "content": _content(route.answers, schemas)}
    }
    failure = _content({JSON: route.failure}, schemas)
    statuses = {*ANYWHERE, *(OF_BODIES if route.body else ()), *(OF_TOKENS if scope != _OPEN else ())}
    for status in sorted(statuses.union(route.statuses)):
        response: dict[str, Any] = {"description": MEANINGS[status], "content": failure}
        if status in _WITH_RETRY_AFTER:
            response["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
            }
        responses[str(status)] = response
    for status, kind in route.others.items():
        responses[str(status)] = {
            "description": "The answer.",
            "content": _content({JSON: kind}, schemas),
        }
    return responses


def _content(media: Any, schemas: dict[str, Schema]) -> dict[str, Any]:
    return {
        name: {"schema": kind if isinstance(kind, dict) else schema_of(kind, schemas)}
        for name, kind in media.items()
    }

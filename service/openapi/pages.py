"""/openapi.json: the document about all routes. /docs: the same for people, as a page that works offline."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, jsonify, request
from markupsafe import escape

from models.version import __version__
from service.openapi.document import openapi
from service.openapi.page import BASE, render
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes


def description(groups: Sequence[Routes], access: Mapping[str, str]) -> Routes:
    """The routes that describe those of `groups`, and themselves. `access`: who may call each group, by its name."""
    routes = Routes("description")

    @functools.cache
    def document() -> dict[str, Any]:
        return openapi([route for group in (*groups, routes) for route in group], access, __version__)

    @routes.get("/openapi.json", answer={JSON: dict[str, Any]})
    def openapi_json(_: NoParameters) -> Response:
        """Gives the OpenAPI 3.1 document about all routes."""
        return jsonify(document())

    @functools.cache
    def page() -> tuple[str, str]:
        return render(document())

    @routes.get("/docs", answer={"text/html": str})
    def docs(_: NoParameters) -> Response:
        """Shows all routes to people, with a form to try one."""
        text, policy = page()
        response = Response(text.replace(BASE, str(escape(request.root_url.rstrip("/")))))
        response.headers["Content-Security-Policy"] = policy
        return response

    return routes

"""The route that says whether a service teaches, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, current_app, jsonify, request

from models.errors import AccessError
from service.jobs.answers import WorkspaceAnswer
from service.openapi.parameters import NoParameters
from service.openapi.routes import Routes
from service.safety import GUARD, Guard, check_request

if TYPE_CHECKING:
    from service.jobs.teaching import Teaching

_OFF = (
    "This service has no workspace. Start it with --workspace FOLDER, or start one to teach with: graft teach"
)
_ALONE = "It has no tokens, and so teaches whoever works at this machine, and nobody else."
_TOKEN = "It teaches who has a token of the scope admin."


def workspace_routes(teaching: Teaching | None) -> Routes:
    """The route /v1/workspace."""
    routes = Routes("workspace", "/v1/workspace")

    @routes.get("", answer=WorkspaceAnswer)
    def get_workspace(_: NoParameters) -> Response:
        """Tells whether this service teaches whoever asks, and why not; where it does, with what."""
        if teaching is None:
            return jsonify(teaching=False, why=_OFF, abilities=None)
        guard: Guard = current_app.extensions[GUARD]
        try:
            check_request("admin", request, guard)
        except AccessError as exc:  # a token is missing, too
            return jsonify(teaching=False, why=str(exc), abilities=None)
        alone = guard.needs_no_token
        return jsonify(teaching=True, why=_ALONE if alone else _TOKEN, abilities=teaching.abilities())

    return routes

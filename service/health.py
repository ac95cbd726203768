"""Routes for whoever starts, watches and stops the service: is it alive, may it have requests?"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from flask import Response, jsonify

from service.openapi.parameters import NoParameters
from service.openapi.routes import Routes
from service.registry import Registry


class Alive(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Whether the service may have requests."""

    status: Literal["ready", "loading", "stopping"]
    loading: Annotated[list[str], "Models that are not warm yet."]


def health(registry: Registry) -> Routes:
    """`/livez`: the process answers. `/readyz`: all models are warm, and it goes on."""
    routes = Routes("health")

    @routes.get("/livez", answer=Alive)
    def livez(_: NoParameters) -> Response:
        """Answers as long as the process does."""
        return jsonify(status="alive")

    @routes.get("/readyz", answer=Readiness, others={503: Readiness})
    def readyz(_: NoParameters) -> Response:
        """Answers 200 once every model is loaded and warm, until the service is about to stop; else 503."""
        loading = registry.loading
        status = "stopping" if registry.draining else "loading" if loading else "ready"
        response = jsonify(status=status, loading=loading)
        response.status_code = 200 if status == "ready" else 503
        return response

    return routes

"""Routes for whoever starts, watches and stops the service: is it alive, may it have requests?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.registry import Registry


def health(registry: Registry) -> Blueprint:
    """`/livez`: the process answers. `/readyz`: all models are warm, and it goes on."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return jsonify(status="alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        loading = registry.loading
        status = "stopping" if registry.draining else "loading" if loading else "ready"
        response = jsonify(status=status, loading=loading)
        response.status_code = 200 if status == "ready" else 503
        return response

    return blueprint

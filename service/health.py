"""Routes for whoever starts, watches and stops the service: is it alive, may it have requests?"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.registry import Registry


def health(registry: Registry) -> Blueprint:
    """`/livez`: the process answers. `/readyz`: all models are loaded and warm."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return jsonify(status="alive")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        loading = registry.loading
        response = jsonify(status="loading" if loading else "ready", loading=loading)
        response.status_code = 503 if loading else 200
        return response

    return blueprint

"""Shadows of a running service: /v1/admin/models/NAME/shadow."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from flask import Response, jsonify

from models.errors import InputError, UnknownModelError
from service.monitoring.shadows import ShadowRule
from service.openapi.routes import JSON, Routes
from service.protocols.admin import PREFIX, json_object
from service.protocols.asking import log_change, own_request_id
from service.protocols.v1_parameters import NamedModel
from service.protocols.watching import ShadowAnswer, shadow_json
from service.registry import Registry

_PATH = "/models/{name}/shadow"


class NewShadow(TypedDict):
    """Which model is to answer unseen."""

    model: Annotated[str, "Name of a model that is served."]
    version: NotRequired[Annotated[int, "Its version; else the one that answers."]]
    share: NotRequired[Annotated[float, "Of all time that it may be at work; else 0.1."]]
    threshold: NotRequired[Annotated[float, "How often it may say something else; else 0.05."]]


def routes(registry: Registry) -> Routes:
    """The routes, over the models of a registry."""
    routes = Routes("admin_shadows", PREFIX)

    @routes.route("PUT", _PATH, NamedModel, body={JSON: NewShadow}, answer=ShadowAnswer, statuses=(404,))
    def put_shadow(given: NamedModel) -> Response:
        """Lets a model answer unseen what another one answers, and counts how often it says something else."""
        name = registry.known_name(given.name)
        body = json_object({"model"}, {"version", "share", "threshold"})
        standing = registry.shadows.put(_rule(registry, name, body))
        text = f"{standing.rule} answers unseen"
        log_change(text, "shadowed", name, own_request_id(), standing.rule.version)
        return jsonify(shadow_json(name, standing))

    @routes.route("DELETE", _PATH, NamedModel, answer=ShadowAnswer, statuses=(404,))
    def remove_shadow(given: NamedModel) -> Response:
        """Takes the shadow of a model away; its counts go with it."""
        name = registry.known_name(given.name)
        if not registry.shadows.remove(name):
            raise UnknownModelError(f"model {name} has no shadow.")
        log_change(f"{name} has no shadow any more", "shadowed", name, own_request_id())
        return jsonify(shadow_json(name, None))

    return routes


def _rule(registry: Registry, name: str, body: dict[str, Any]) -> ShadowRule:
    config = registry.config
    second, version = body["model"], body.get("version")
    if not isinstance(second, str):
        raise InputError("model is no text; expected the name of a model that is served.")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise InputError(f"version is {str(version)[:40]!r}; expected a whole number.")
    numbers = {
        "share": body.get("share", config.shadow_share),
        "threshold": body.get("threshold", config.shadow_threshold),
    }
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{key} is {str(value)[:40]!r}; expected a number above 0 and at most 1.")
    return ShadowRule(name, registry.known_name(second), version, **numbers)

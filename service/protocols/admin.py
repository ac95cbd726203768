"""Administration of a running service: /v1/admin loads and unloads versions of models, and moves labels."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection
from typing import Any

from flask import Blueprint, Response, jsonify, request

from models.errors import BusyError, InputError
from service.parameters import check_known, whole_number
from service.registry import Registry
from service.repository import file_in, name_and_version
from service.sources import Source

PREFIX = "/v1/admin"
_LARGEST = 1 << 16  # bytes of a body
_AGAIN_S = 2.0  # when to ask again while another model is being loaded


def routes(registry: Registry) -> Blueprint:
    """The routes below /v1/admin, over the models of a registry."""
    blueprint = Blueprint("admin", __name__, url_prefix=PREFIX)
    loading = threading.Lock()

    @blueprint.get("/models")
    def listing() -> Response:
        check_known(request.args)
        return jsonify(models=_models_json(registry), default=registry.default)

    @blueprint.post("/models")
    def load() -> Response:
        """Load and warm a version; it is served when this answers."""
        check_known(request.args)
        source = _source(registry, _body({"path"}, {"name", "version"}))
        if not loading.acquire(blocking=False):
            raise BusyError("another model is being loaded. Try again in a moment.", _AGAIN_S)
        try:
            served = registry.open(source)
        finally:
            loading.release()
        return jsonify(name=served.name, version=served.version, plan=str(served.plan))

    @blueprint.delete("/models/<name>")
    def unload(name: str) -> Response:
        check_known(request.args, "version")
        version = whole_number(request.args, "version", 1) if "version" in request.args else None
        registry.unload(name, version)
        return jsonify(models=_models_json(registry), default=registry.default)

    @blueprint.put("/models/<name>/labels/<label>")
    def move(name: str, label: str) -> Response:
        """Let a label stand for a version that is warm."""
        check_known(request.args)
        registry.move_label(name, label, _version(_body({"version"}, set())["version"]))
        return jsonify(models=_models_json(registry), default=registry.default)

    @blueprint.delete("/models/<name>/labels/<label>")
    def remove(name: str, label: str) -> Response:
        check_known(request.args)
        registry.move_label(name, label, None)
        return jsonify(models=_models_json(registry), default=registry.default)

    return blueprint


def _source(registry: Registry, given: dict[str, Any]) -> Source:
    """What a body asks to be loaded."""
    for key in ("path", "name"):
        if not isinstance(given.get(key, ""), str):
            raise InputError(
                f"{key} is no text; expected a path in the repository, and a name of your choice."
            )
    file = file_in(registry.config.repository, given["path"])
    name, version = name_and_version(file)
    name = given.get("name", name)
    if not name or len(name) > 200 or not name.isprintable() or any(sign in name for sign in ":/"):
        raise InputError(f"the name is {name[:60]!r}; expected text without colons and slashes.")
    if "version" in given:
        version = _version(given["version"])
    if version is None:
        family = registry.families.get(name)
        version = max(family.versions, default=0) + 1 if family is not None else 1
    return Source(name, version, str(file), origin="administrator")


def _version(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 1 << 63:
        raise InputError(f"the version is {repr(value)[:40]}; expected a whole number of at least 1.")
    return value


def _body(needed: Collection[str], allowed: Collection[str]) -> dict[str, Any]:
    """The JSON object of a request."""
    form = f"a JSON object with {', '.join(sorted(needed))}"
    form += f", and perhaps {', '.join(sorted(allowed))}" if allowed else ""
    body = request.get_data()
    if len(body) > _LARGEST:
        raise InputError(f"the body has {len(body):,} bytes; expected {form}, in {_LARGEST:,} at most.")
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"the body is no JSON ({exc}); expected {form}.") from exc
    if not isinstance(values, dict) or not set(needed) <= set(values) <= {*needed, *allowed}:
        raise InputError(f"the JSON has another form; expected {form}.")
    return values


def _models_json(registry: Registry) -> list[dict[str, Any]]:
    """Each model with its versions, ready or not, and its labels."""
    families, states = registry.families, dict(registry.states)
    names = dict.fromkeys([*families, *(name for name, _ in states)])
    return [
        {
            "name": name,
            "labels": dict(families[name].labels) if name in families else {},
            "answers": families[name].current if name in families else None,
            "versions": [
                _version_json(registry, name, version, *state)
                for (known, version), state in sorted(states.items())
                if known == name
            ],
        }
        for name in names
    ]


def _version_json(registry: Registry, name: str, version: int, state: str, reason: str) -> dict[str, Any]:
    family = registry.families.get(name)
    served = family.versions.get(version) if family is not None else None
    known: dict[str, Any] = {"version": version, "state": state}
    if reason:
        known["reason"] = reason
    if served is not None:
        known |= {"path": served.source.spec, "plan": str(served.plan)}
    return known

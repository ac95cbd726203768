"""Administration of a running service: /v1/admin loads and unloads versions of models, and moves labels."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, NotRequired, TypedDict

from flask import Response, jsonify, request

from models.errors import InputError
from models.settings import setting, settings
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import log_change, own_request_id
from service.registry import Registry, State
from service.repository import file_in, name_and_version
from service.sources import Source

PREFIX = "/v1/admin"
_LARGEST = 1 << 16  # bytes of a body
_LABEL = "{name}/labels/{label}"


@settings
class Unload:
    """Of DELETE /v1/admin/models/NAME."""

    name: str = setting("", "Name of a model.")
    version: int | None = setting(None, "Version of the model.", unset="all of them", least=1)


@settings
class OfLabel:
    """Of a label of a model."""

    name: str = setting("", "Name of a model.")
    label: str = setting("", "A word such as stable or canary.")


class Load(TypedDict):
    """What is to be loaded."""

    path: Annotated[str, "Of a model file, in the repository."]
    name: NotRequired[Annotated[str, "Under which it is served; else its own."]]
    version: NotRequired[Annotated[int, "From 1; else its folder's, or the next one."]]


class Loaded(TypedDict):
    """What is served from now on."""

    name: str
    version: int
    plan: Annotated[str, "How it is run."]


class Move(TypedDict):
    """What a label is to stand for."""

    version: Annotated[int, "One that is served."]


class KnownVersion(TypedDict):
    """A version of a model."""

    version: int
    state: State
    reason: NotRequired[Annotated[str, "Why it could not be loaded."]]
    path: NotRequired[str]
    plan: NotRequired[Annotated[str, "How it is run."]]


class KnownModel(TypedDict):
    """A model with all its versions."""

    name: str
    labels: Annotated[dict[str, int], "The version that each label stands for."]
    answers: Annotated[int | None, "The version that answers where none is named."]
    versions: list[KnownVersion]


class AllVersions(TypedDict):
    """All models, with all their versions."""

    models: list[KnownModel]
    default: Annotated[str, "The one that answers where a request names none."]


def routes(registry: Registry) -> Routes:
    """The routes below /v1/admin, over the models of a registry."""
    routes = Routes("admin", PREFIX)

    @routes.get("/models", answer=AllVersions)
    def listing(_: NoParameters) -> Response:
        """Lists all versions of all models, ready or not, and the labels that stand for them."""
        return jsonify(models=_models_json(registry), default=registry.default)

    @routes.post("/models", body={JSON: Load}, answer=Loaded)
    def load(_: NoParameters) -> Response:
        """Loads and warms a version from the repository; it is served when this answers."""
        source = _source(registry, json_object({"path"}, {"name", "version"}))
        served = registry.open_if_idle(source)
        text = f"{served.name} version {served.version} is served from {source.spec}"
        log_change(text, "loaded", served.name, own_request_id(), served.version)
        return jsonify(name=served.name, version=served.version, plan=str(served.plan))

    @routes.route("DELETE", "/models/{name}", Unload, answer=AllVersions, statuses=(404,))
    def unload(given: Unload) -> Response:
        """Serves a version, or all of a model, no longer; requests that have begun come to their end."""
        registry.unload(given.name, given.version)
        what = given.name if given.version is None else f"{given.name} version {given.version}"
        log_change(f"{what} is not served any more", "retired", given.name, own_request_id(), given.version)
        return jsonify(models=_models_json(registry), default=registry.default)

    @routes.route("PUT", f"/models/{_LABEL}", OfLabel, body={JSON: Move}, answer=AllVersions, statuses=(404,))
    def move(given: OfLabel) -> Response:
        """Lets a label stand for a version that is warm."""
        version = _version(json_object({"version"}, set())["version"])
        registry.move_label(given.name, given.label, version)
        text = f"{given.label}={given.name}:{version} stands"
        log_change(text, "labelled", given.name, own_request_id(), version)
        return jsonify(models=_models_json(registry), default=registry.default)

    @routes.route("DELETE", f"/models/{_LABEL}", OfLabel, answer=AllVersions, statuses=(404,))
    def remove(given: OfLabel) -> Response:
        """Takes a label away; no version goes with it."""
        registry.move_label(given.name, given.label, None)
        text = f"{given.label} of {given.name} stands no longer"
        log_change(text, "labelled", given.name, own_request_id())
        return jsonify(models=_models_json(registry), default=registry.default)

    return routes


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


def json_object(needed: Collection[str], allowed: Collection[str]) -> dict[str, Any]:
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

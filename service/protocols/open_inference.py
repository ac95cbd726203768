"""The Open Inference Protocol, version 2, over HTTP, with extensions of Triton: binary tensors, classification, model
configuration, statistics, and the repository.

Sources: https://github.com/kserve/open-inference-protocol (inference_rest.md) and Triton's `docs/protocol`.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Request, Response, current_app, jsonify, request

from models.errors import BusyError, InputError
from models.version import __version__
from service.bodies.json_images import parse_json
from service.bodies.memory import Share
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import JSON_VALUES, Named, NamedVersion, caller_of, own_request_id
from service.protocols.inferring import Inferred, check_size, infer
from service.protocols.open_inference_models import (
    configuration,
    index,
    load_newest,
    metadata,
    not_ready,
    statistics,
    unload_all,
)
from service.protocols.tensor_answers import write_answer
from service.protocols.tensors import InferRequest, parse_infer, split
from service.records import RECORD
from service.registry import Registry
from service.shapes import FailureText, Shape, text_body
from service.statistics import STATISTICS, Statistics
from service.steps import Steps

PREFIX = "/v2"
REPOSITORY = f"{PREFIX}/repository"
SHAPE = Shape(re.compile(rf"{PREFIX}(/|$)"), text_body, FailureText)
EXTENSIONS = ("classification", "binary_tensor_data", "model_configuration", "statistics", "model_repository")
_HEADER_LENGTH = "Inference-Header-Content-Length"
_TENSORS = "application/octet-stream"
_FORM = '{"inputs": [{"name": "image", "datatype": ..., "shape": [...], ...}]}'
_EMPTY = {"text/plain": str}


def routes(registry: Registry) -> Routes:
    """The routes below /v2 of those who infer."""
    routes = Routes("open_inference", PREFIX, FailureText)

    @routes.get("", answer=dict[str, Any])
    def server_metadata(_: NoParameters) -> Response:
        """Tells the server's name, its version, and the extensions of the protocol that it knows."""
        return jsonify(name="graft", version=__version__, extensions=list(EXTENSIONS))

    def of_model(path: str, name: str, answer_type: Any, view: Any) -> None:
        """Declare a route of a model, and the same of a version of it."""

        def newest(given: Named) -> Response:
            return view(given.name, None)  # type: ignore[no-any-return]

        def of_version(given: NamedVersion) -> Response:
            return view(given.name, given.version)  # type: ignore[no-any-return]

        newest.__doc__ = view.__doc__
        of_version.__doc__ = f"{view.__doc__.partition('.')[0]}, in one version."
        declared = {"answer": answer_type, "statuses": (404,)}
        routes.get(f"/models/{{name}}{path}", Named, name=name, **declared)(newest)
        versioned = f"/models/{{name}}/versions/{{version}}{path}"
        routes.get(versioned, NamedVersion, name=f"{name}_of_version", **declared)(of_version)

    def ready(name: str, version: int | None) -> Response:
        """Tells whether a model is served."""
        with registry.use(name, version) as served:
            return jsonify(name=served.name, ready=True)

    def describe(name: str, version: int | None) -> Response:
        """Tells the inputs and outputs of a model."""
        with registry.use(name, version) as served:
            return jsonify(metadata(registry, served))

    def configure(name: str, version: int | None) -> Response:
        """Tells how a model is set up, in the form of Triton's model configuration."""
        with registry.use(name, version) as served:
            return jsonify(configuration(registry, served))

    def count(name: str, version: int | None) -> Response:
        """Tells how often and how long a model has worked."""
        return jsonify(model_stats=statistics(registry, _statistics(), name, version))

    of_model("/ready", "model_ready", dict[str, Any], ready)
    of_model("", "model_metadata", dict[str, Any], describe)
    of_model("/config", "model_configuration", dict[str, Any], configure)
    of_model("/stats", "model_statistics", dict[str, Any], count)

    @routes.get("/models/stats", answer=dict[str, Any])
    def all_statistics(_: NoParameters) -> Response:
        """Tells how often and how long each model has worked."""
        return jsonify(model_stats=statistics(registry, _statistics()))

    body = {JSON: dict[str, Any], _TENSORS: None}

    @routes.post("/models/{name}/infer", Named, body=body, answer=body, statuses=(404,))
    def model_infer(given: Named, asked: Request) -> Steps[Response]:
        """Gives the outputs of a model for images: pixels as numbers, or image files as BYTES."""
        return (yield from _infer(registry, asked, given.name, None))

    versioned = "/models/{name}/versions/{version}/infer"

    @routes.post(versioned, NamedVersion, body=body, answer=body, statuses=(404,))
    def model_infer_of_version(given: NamedVersion, asked: Request) -> Steps[Response]:
        """Gives the outputs of a model for images, in one version."""
        return (yield from _infer(registry, asked, given.name, given.version))

    @routes.post("/repository/index", answer=list[dict[str, str]])
    def repository_index(_: NoParameters) -> Response:
        """Lists the versions that are known, with their states; those that are ready alone where the body says so."""
        return jsonify(index(registry, ready=_repository_request({"ready"}).get("ready") is True))

    return routes


def health_routes(registry: Registry) -> Routes:
    """The routes below /v2/health, for whoever starts and watches the service."""
    routes = Routes("open_inference_health", f"{PREFIX}/health", FailureText)

    @routes.get("/live", answer=dict[str, bool])
    def server_live(_: NoParameters) -> Response:
        """Answers while the process does."""
        return jsonify(live=True)

    @routes.get("/ready", answer=dict[str, bool])
    def server_ready(_: NoParameters) -> Response:
        """Tells whether all models are loaded and warm."""
        if why := not_ready(registry):
            raise BusyError(f"the server is not ready: {why}.", 1.0)
        return jsonify(ready=True)

    return routes


def repository_routes(registry: Registry) -> Routes:
    """The routes below /v2 of those who administer."""
    routes = Routes("open_inference_admin", REPOSITORY, FailureText)

    @routes.post("/models/{name}/load", Named, answer=_EMPTY, statuses=(404,))
    def repository_load(given: Named) -> Response:
        """Loads a model: its newest version, of what the service was started with or its repository holds."""
        parameters = _repository_request({"parameters"}).get("parameters")
        load_newest(registry, given.name, parameters, own_request_id())
        return Response(content_type="text/plain")

    @routes.post("/models/{name}/unload", Named, answer=_EMPTY, statuses=(404,))
    def repository_unload(given: Named) -> Response:
        """Unloads a model: all of its versions."""
        parameters = _repository_request({"parameters"}).get("parameters")
        unload_all(registry, given.name, parameters, own_request_id())
        return Response(content_type="text/plain")

    return routes


def _repository_request(known: set[str]) -> dict[str, Any]:
    """The JSON of a request about the repository, which may be empty."""
    body = request.get_data(cache=False)
    if len(body) > 1 << 16:
        raise InputError(f"the body has {len(body):,} bytes; expected a small object of JSON.")
    try:
        values = current_app.json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise InputError(f"the body is no JSON ({exc}); expected an object, or nothing.") from exc
    if not isinstance(values, dict) or values.keys() - known:
        raise InputError(
            f"the JSON has another form; expected an object with {', '.join(known)}, or nothing."
        )
    return values


def _statistics() -> Statistics:
    known: Statistics = current_app.extensions[STATISTICS]
    return known


def _infer(registry: Registry, asked: Request, name: str, version: int | None) -> Steps[Response]:
    inferred = yield from infer(
        registry,
        (name, version, None),
        asked.environ[RECORD],
        lambda share: _parsed(registry, asked, share),
        lambda timeout_s: caller_of(registry, asked, timeout_s),
    )
    check_size(inferred, registry.config.max_values)
    body, header_length = write_answer(_head(inferred), inferred.outputs)
    if header_length is None:
        return Response(body, content_type=JSON)
    return Response(body, content_type=_TENSORS, headers={_HEADER_LENGTH: str(header_length)})


def _parsed(registry: Registry, asked: Request, share: Share) -> InferRequest:
    header, data = split(registry.bodies.body(asked, share), asked.headers.get(_HEADER_LENGTH))
    return parse_infer(parse_json(header, share, _FORM, JSON_VALUES), data)


def _head(inferred: Inferred) -> dict[str, Any]:
    """What stands beside the outputs; whether images are none of the classes, which no output of others tells."""
    head: dict[str, Any] = {"model_name": inferred.model, "model_version": str(inferred.version)}
    if inferred.id is not None:
        head = {"id": inferred.id, **head}
    if inferred.rejected is not None:
        head["parameters"] = {"rejected": inferred.rejected}
    return head


GROUPS = (health_routes, routes, repository_routes)

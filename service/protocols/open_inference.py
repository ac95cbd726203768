"""The Open Inference Protocol, version 2, over HTTP, with extensions of Triton: binary tensors, classification, model
configuration, statistics, and the repository.

Sources: https://github.com/kserve/open-inference-protocol (inference_rest.md) and Triton's `docs/protocol`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from flask import Response, current_app, jsonify, request
from numpy.typing import NDArray

from models.errors import BusyError, InputError, UnknownModelError
from models.names import INPUT
from models.runtime import Array
from service.bodies.json_images import image_of_base64, parse_json
from service.bodies.memory import Share
from service.bodies.upload import Upload
from service.caller import Caller
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import (
    JSON_VALUES,
    Named,
    NamedVersion,
    caller_of,
    check_count,
    decode_all,
    log_change,
)
from service.protocols.open_inference_models import configuration, index, loadable, metadata, statistics
from service.protocols.tensor_answers import classes_of, write_answer
from service.protocols.tensors import (
    BYTES,
    InferRequest,
    Wanted,
    parse_infer,
    split,
)
from service.protocols.views import answer, outputs_of, to_pixels
from service.records import RECORD
from service.registry import Registry
from service.served import Served
from service.shapes import FailureText, Shape, text_body
from service.statistics import STATISTICS, Statistics
from service.version import __version__

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
        with registry.use(name, version):
            return Response(content_type="text/plain")

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
        family = registry.families[registry.get(name, version).name]
        chosen = family.versions.values() if version is None else [family.versions[version]]
        return jsonify(
            model_stats=[statistics(one, _statistics().of(one.name, one.version)) for one in chosen]
        )

    of_model("/ready", "model_ready", _EMPTY, ready)
    of_model("", "model_metadata", dict[str, Any], describe)
    of_model("/config", "model_configuration", dict[str, Any], configure)
    of_model("/stats", "model_statistics", dict[str, Any], count)

    @routes.get("/models/stats", answer=dict[str, Any])
    def all_statistics(_: NoParameters) -> Response:
        """Tells how often and how long each model has worked."""
        _statistics().keep([(one.name, one.version) for one in registry.served])
        rows = [statistics(one, _statistics().of(one.name, one.version)) for one in registry.served]
        return jsonify(model_stats=rows)

    body = {JSON: dict[str, Any], _TENSORS: None}

    @routes.post("/models/{name}/infer", Named, body=body, answer=body, statuses=(404,))
    def model_infer(given: Named) -> Response:
        """Gives the outputs of a model for images: pixels as numbers, or image files as BYTES."""
        return _infer(registry, given.name, None)

    versioned = "/models/{name}/versions/{version}/infer"

    @routes.post(versioned, NamedVersion, body=body, answer=body, statuses=(404,))
    def model_infer_of_version(given: NamedVersion) -> Response:
        """Gives the outputs of a model for images, in one version."""
        return _infer(registry, given.name, given.version)

    @routes.post("/repository/index", answer=list[dict[str, str]])
    def repository_index(_: NoParameters) -> Response:
        """Lists the versions that are known, with their states; those that are ready alone where the body says so."""
        return jsonify(index(registry, ready=_repository_request({"ready"}).get("ready") is True))

    return routes


def health_routes(registry: Registry) -> Routes:
    """The routes below /v2/health, for whoever starts and watches the service."""
    routes = Routes("open_inference_health", f"{PREFIX}/health", FailureText)

    @routes.get("/live", answer=_EMPTY)
    def server_live(_: NoParameters) -> Response:
        """Answers while the process does."""
        return Response(content_type="text/plain")

    @routes.get("/ready", answer=_EMPTY)
    def server_ready(_: NoParameters) -> Response:
        """Tells whether all models are loaded and warm."""
        if registry.draining or registry.loading:
            why = "it stops" if registry.draining else f"{', '.join(registry.loading)} is being loaded"
            raise BusyError(f"the server is not ready: {why}.", 1.0)
        return Response(content_type="text/plain")

    return routes


def repository_routes(registry: Registry) -> Routes:
    """The routes below /v2 of those who administer."""
    routes = Routes("open_inference_admin", REPOSITORY, FailureText)

    @routes.post("/models/{name}/load", Named, answer=_EMPTY, statuses=(404,))
    def repository_load(given: Named) -> Response:
        """Loads a model: its newest version, of what the service was started with or its repository holds."""
        if _repository_request({"parameters"}).get("parameters"):
            raise InputError(
                "the request brings a configuration or files; a model is loaded as it lies in its folder."
            )
        sources = [one for one in loadable(registry) if one.name == given.name]
        if not sources:
            raise UnknownModelError(
                f"no model {given.name!r} lies in the repository. See POST {REPOSITORY}/index for what does."
            )
        served = registry.open_if_idle(max(sources, key=lambda one: one.version))
        text = f"{served.name} version {served.version} is served from {served.source.spec}"
        log_change(text, "loaded", served.name, served.version)
        return Response(content_type="text/plain")

    @routes.post("/models/{name}/unload", Named, answer=_EMPTY, statuses=(404,))
    def repository_unload(given: Named) -> Response:
        """Unloads a model: all of its versions."""
        parameters = _repository_request({"parameters"}).get("parameters") or {}
        if not isinstance(parameters, dict) or parameters.keys() - {"unload_dependents"}:
            raise InputError(
                "parameters are known by one name here: unload_dependents; no model depends on another."
            )
        registry.unload(given.name)
        log_change(f"{given.name} is not served any more", "retired", given.name)
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


def _infer(registry: Registry, name: str, version: int | None) -> Response:
    with registry.use(name, version, record=request.environ[RECORD]) as served:
        with registry.bodies.memory.share() as share:
            asked = _parsed(registry, share)
            known = {output.name: output for output in outputs_of(served.model, registry.config.outputs)}
            wanted = asked.outputs or tuple(Wanted(output, asked.binary) for output in known)
            for output in wanted:
                _check_output(output, known, served.name)
            caller = caller_of(registry, asked.timeout_s)
            images = _images(registry, served, asked, caller)
        result = answer(served, images, [output.name for output in wanted], caller)
        outputs = [(output, _values(output, result.tensors[output.name], served)) for output in wanted]
        head = _head(asked, served, result.rejected)
    _check_size(outputs, registry.config.max_values)
    body, header_length = write_answer(head, outputs)
    if header_length is None:
        return Response(body, content_type=JSON)
    return Response(body, content_type=_TENSORS, headers={_HEADER_LENGTH: str(header_length)})


def _parsed(registry: Registry, share: Share) -> InferRequest:
    header, data = split(registry.bodies.body(request, share), request.headers.get(_HEADER_LENGTH))
    return parse_infer(parse_json(header, share, _FORM, JSON_VALUES), data)


def _check_output(wanted: Wanted, known: dict[str, Any], model: str) -> None:
    if wanted.name not in known:
        raise InputError(f"the output {wanted.name[:60]!r} is none of {model}; expected {', '.join(known)}.")
    if wanted.classes and len(known[wanted.name].shape) != 1:
        raise InputError(f"the output {wanted.name!r} holds no scores of classes; leave classification out.")


def _images(
    registry: Registry, served: Served, asked: InferRequest, caller: Caller
) -> list[NDArray[np.uint8]]:
    """The images of a request as pixels."""
    if [tensor.name for tensor in asked.inputs] != [INPUT]:
        names = ", ".join(repr(tensor.name[:60]) for tensor in asked.inputs)
        raise InputError(f"the inputs are {names}; expected one, {INPUT!r}.")
    (tensor,) = asked.inputs
    if tensor.datatype == BYTES:
        if len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)):
            raise InputError(
                f"{INPUT!r} is BYTES {list(tensor.shape)}; expected [N] or [N, 1], an image file each."
            )
        uploads = [_upload(f"{INPUT}[{i}]", element) for i, element in enumerate(tensor.values)]
        return decode_all(registry, served, uploads, caller)
    if tensor.datatype == "BOOL":
        raise InputError(f"{INPUT!r} is BOOL; expected UINT8 or other numbers from 0 to 255, or BYTES.")
    check_count(registry, tensor.shape[0])
    with caller.record.stage("decode", tensor.shape[0]):
        size = served.model.card.preprocessing.size
        return to_pixels(tensor.values, size, INPUT, whole=tensor.is_whole)


def _upload(name: str, element: bytes | str) -> Upload:
    return Upload(name, element if isinstance(element, bytes) else image_of_base64(element, name))


def _values(wanted: Wanted, values: Array, served: Served) -> Array | list[list[bytes]]:
    if not wanted.classes:
        return values
    return classes_of(values, wanted.classes, [label.name for label in served.model.card.labels])


def _head(asked: InferRequest, served: Served, rejected: list[bool] | None) -> dict[str, Any]:
    """What stands beside the outputs; whether images are none of the classes, which no output of others tells."""
    head: dict[str, Any] = {"model_name": served.name, "model_version": str(served.version)}
    if asked.id is not None:
        head = {"id": asked.id, **head}
    if rejected is not None:
        head["parameters"] = {"rejected": rejected}
    return head


def _check_size(outputs: list[tuple[Wanted, Any]], most: int) -> None:
    """Refuse an answer that would be too large as JSON."""
    count = sum(
        values.size for wanted, values in outputs if isinstance(values, np.ndarray) and not wanted.binary
    )
    if count > most:
        raise InputError(
            f"the answer has {count:,} numbers; in JSON at most {most:,} are told. Ask for binary outputs."
        )


GROUPS = (health_routes, routes, repository_routes)

"""Graft's own protocol: /v1/classify, /v1/features, /v1/models."""

from __future__ import annotations

import base64
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Response, jsonify, request

from models.errors import InputError
from models.runtime import Array
from service.decoding import Caller, Decoded
from service.encoding import result_json
from service.errors import error_json, failure, row_error
from service.front.wsgi import GONE
from service.parameters import check_known, choice, whole_number
from service.records import RECORD, RequestRecord
from service.registry import Registry
from service.served import Served
from service.uploads import uploads

if TYPE_CHECKING:
    from models.features import Pool


_CHOOSING = ("model", "version", "label")


def routes(registry: Registry) -> Blueprint:
    """The routes below /v1, over the models of a registry."""
    blueprint = Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.post("/classify")
    def classify() -> Response:
        check_known(request.args, *_CHOOSING, "top_k")
        top_k = whole_number(request.args, "top_k", 5)
        with registry.use(*_chosen(request.args), _record()) as served:
            model = served.model
            if not model.is_regression:
                model.require_classifier()
            caller = _caller(registry)
            images = registry.decoder.decode(
                uploads(request, registry.config), model.card.preprocessing, caller
            )
            rows = served.results(images.pixels, caller)
            return _response(images, rows, lambda row: result_json(row, model, top_k), model=served.name)

    @blueprint.post("/features")
    def features() -> Response:
        check_known(request.args, *_CHOOSING, "cut", "pool", "normalize", "encoding")
        encoding = choice(request.args, "encoding", ("json", "base64"))
        pool = cast("Pool", choice(request.args, "pool", ("avg", "max", "none", "flatten")))
        normalize = choice(request.args, "normalize", ("none", "l2"))
        with registry.use(*_chosen(request.args), _record()) as served:
            model = served.feature_model(request.args.get("cut"), pool, "l2" if normalize == "l2" else None)
            (cut,) = model.cuts
            caller, files = _caller(registry), uploads(request, registry.config)
            count = len(files) * math.prod(model.blank[cut].shape[1:])
            _check_size(count, cut, len(files), registry.config.max_values)
            images = registry.decoder.decode(files, served.model.card.preprocessing, caller)
            rows = served.vectors(images.pixels, model, caller)

            def vector_json(row: Array) -> dict[str, Any]:
                values = _base64_float32(row) if encoding == "base64" else row.tolist()
                return {"shape": list(row.shape), "features": values}

            return _response(images, rows, vector_json, model=served.name, cut=cut)

    @blueprint.get("/models")
    def models() -> Response:
        check_known(request.args)
        rows = [_model_json(served) for served in registry.served]
        return jsonify(models=rows, default=registry.default)

    @blueprint.get("/models/<name>")
    def model(name: str) -> Response:
        check_known(request.args, "version", "label")
        with registry.use(name, *_chosen(request.args)[1:], _record()) as served:
            card = dataclasses.asdict(served.model.card)  # labels included
            return jsonify({**_model_json(served), "card": card})

    return blueprint


def _response(
    images: Decoded, rows: Iterable[Any], encode: Callable[[Any], dict[str, Any]], **fields: Any
) -> Response:
    """A result for each image in its place, or why there is none; `fields` stand before the results."""
    outcomes: Iterator[Any] = iter(rows)
    results, errors = [], []
    for i, name in enumerate(images.names):
        outcome = images.failures[i] if i in images.failures else next(outcomes)
        if isinstance(outcome, Exception):
            errors.append(row_error(outcome))
            results.append({"image": name, "error": error_json(errors[-1])})
        else:
            results.append({"image": name, **encode(outcome)})
    if len(errors) == len(results):
        return failure(errors[0], **fields, results=results)
    return jsonify(**fields, results=results)


def _chosen(given: Mapping[str, str]) -> tuple[str | None, int | None, str | None]:
    """Model, version and label that a request asks for."""
    version = whole_number(given, "version", 1) if "version" in given else None
    if version is not None and "label" in given:
        raise InputError("the request names a version and a label; expected one of them.")
    return given.get("model"), version, given.get("label")


def _record() -> RequestRecord:
    record: RequestRecord = request.environ[RECORD]
    return record


def _caller(registry: Registry) -> Caller:
    return Caller(time.monotonic() + registry.config.timeout_s, request.environ.get(GONE), _record())


def _check_size(count: int, cut: str, images: int, most: int) -> None:
    """Refuse an answer that would be too large, before anything is computed."""
    if count > most:
        raise InputError(
            f"{images} images give {count:,} numbers at {cut}; at most {most:,} go together. Send fewer images, or "
            "take a later cut point."
        )


def _base64_float32(values: Array) -> str:
    """An array as base64 of little-endian float32 in row-major order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _model_json(served: Served) -> dict[str, Any]:
    """What a client needs to know of a model."""
    model, card = served.model, served.model.card
    return {
        "name": served.name,
        "version": served.version,
        "task": card.task,
        "description": card.description,
        "input_size": list(card.preprocessing.size),
        "classes": len(card.labels),
        "cuts": [{"name": cut.name, "shape": list(cut.shape)} for cut in card.cuts],
        "device": str(model.session.device),
        "plan": str(served.plan),
    }

"""Graft's own protocol: /v1/classify, /v1/features, /v1/models."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from flask import Blueprint, Response, jsonify, request
from numpy.typing import NDArray

from models.errors import InputError
from models.model import Model
from models.runtime import Array
from service.encoding import result_json
from service.errors import error_json, failure
from service.parameters import check_known, choice, whole_number
from service.registry import Registry
from service.uploads import Decoded, decode, uploads

if TYPE_CHECKING:
    from models.features import Pool

Row = TypeVar("Row")


def routes(registry: Registry) -> Blueprint:
    """The routes below /v1, over the models of a registry."""
    blueprint = Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.post("/classify")
    def classify() -> Response:
        check_known(request.args, "model", "top_k")
        top_k = whole_number(request.args, "top_k", 5)
        served = registry.get(request.args.get("model"))
        model = served.model
        if not model.is_regression:
            model.require_classifier()
        images = decode(uploads(request, registry.config), model.card.preprocessing)
        return _response(
            images, served.results, lambda result: result_json(result, model, top_k), model=served.name
        )

    @blueprint.post("/features")
    def features() -> Response:
        check_known(request.args, "model", "cut", "pool", "normalize", "encoding")
        encoding = choice(request.args, "encoding", ("json", "base64"))
        pool = cast("Pool", choice(request.args, "pool", ("avg", "max", "none", "flatten")))
        normalize = choice(request.args, "normalize", ("none", "l2"))
        served = registry.get(request.args.get("model"))
        model = served.feature_model(request.args.get("cut"), pool, "l2" if normalize == "l2" else None)
        (cut,) = model.cuts
        images = decode(uploads(request, registry.config), served.model.card.preprocessing)

        def vectors(pixels: NDArray[np.uint8]) -> Array:
            values = served.vectors(pixels, model)
            if values.size > registry.config.max_values:
                raise InputError(
                    f"{len(values)} images give {values.size:,} numbers at {cut}; at most "
                    f"{registry.config.max_values:,} go together. Send fewer images, or take a later cut point."
                )
            return values

        def vector_json(row: Array) -> dict[str, Any]:
            values = _base64_float32(row) if encoding == "base64" else row.tolist()
            return {"shape": list(row.shape), "features": values}

        return _response(images, vectors, vector_json, model=served.name, cut=cut)

    @blueprint.get("/models")
    def models() -> Response:
        check_known(request.args)
        rows = [_model_json(served.name, served.model) for served in registry.served.values()]
        return jsonify(models=rows, default=registry.default)

    @blueprint.get("/models/<name>")
    def model(name: str) -> Response:
        check_known(request.args)
        served = registry.get(name)
        card = dataclasses.asdict(served.model.card)  # labels included
        return jsonify({**_model_json(served.name, served.model), "card": card})

    return blueprint


def _response(
    images: Decoded,
    run: Callable[[NDArray[np.uint8]], Iterable[Row]],
    encode: Callable[[Row], dict[str, Any]],
    **fields: Any,
) -> Response:
    """Run the images that could be read, and answer for each in its place; `fields` stand before the results."""
    rows: Iterator[Row] = iter(run(images.pixels) if len(images.pixels) else ())
    results = [
        {"image": name, "error": error_json(images.failures[i])}
        if i in images.failures
        else {"image": name, **encode(next(rows))}
        for i, name in enumerate(images.names)
    ]
    if len(images.failures) == len(images.names):
        return failure(images.failures[0], **fields, results=results)
    return jsonify(**fields, results=results)


def _base64_float32(values: Array) -> str:
    """An array as base64 of little-endian float32 in row-major order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _model_json(name: str, model: Model) -> dict[str, Any]:
    """What a client needs to know of a model."""
    card = model.card
    return {
        "name": name,
        "task": card.task,
        "description": card.description,
        "input_size": list(card.preprocessing.size),
        "classes": len(card.labels),
        "cuts": [{"name": cut.name, "shape": list(cut.shape)} for cut in card.cuts],
        "device": str(model.session.device),
    }

"""Graft's own HTTP routes: /v1/classify, /v1/features, /v1/models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from flask import Blueprint, Response, jsonify, request

from models.errors import InputError
from models.runtime import Array
from service.encoding import answer_json, base64_float32, model_json
from service.errors import error_json, failure
from service.parameters import check_known, choice, whole_number
from service.registry import Registry
from service.uploads import Decoded, decode, uploads

Row = TypeVar("Row")


def v1(registry: Registry) -> Blueprint:
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

        return _answer(
            images, served.ask, lambda answer: answer_json(answer, model, top_k), model=served.name
        )

    @blueprint.post("/features")
    def features() -> Response:
        check_known(request.args, "model", "cut", "encoding")
        encoding = choice(request.args, "encoding", ("json", "base64"))
        served = registry.get(request.args.get("model"))
        cut = served.cut_name(request.args.get("cut"))
        images = decode(uploads(request, registry.config), served.model.card.preprocessing)

        def run(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Array:
            values = served.features(pixels, cut)
            if values.size > registry.config.max_values:
                raise InputError(
                    f"{len(values)} images give {values.size:,} numbers at {cut}; at most "
                    f"{registry.config.max_values:,} go together. Send fewer images, or take a later cut point."
                )
            return values

        def vector(row: Array) -> dict[str, Any]:
            values = base64_float32(row) if encoding == "base64" else row.tolist()
            return {"shape": list(row.shape), "features": values}

        return _answer(images, run, vector, model=served.name, cut=cut)

    @blueprint.get("/models")
    def models() -> Response:
        check_known(request.args)
        served = registry.served
        return jsonify(
            models=[model_json(one.name, one.model) for one in served.values()], default=registry.default
        )

    @blueprint.get("/models/<name>")
    def model(name: str) -> Response:
        check_known(request.args)
        served = registry.get(name)
        return jsonify(model_json(served.name, served.model, whole=True))

    return blueprint


def _answer(
    images: Decoded,
    run: Callable[[np.ndarray[Any, np.dtype[np.uint8]]], Iterable[Row]],
    encode: Callable[[Row], dict[str, Any]],
    **more: Any,
) -> Response:
    """Run the images that could be read, and answer for each in its place."""
    rows: Iterator[Row] = iter(run(images.pixels) if len(images.pixels) else ())
    results = [
        {"image": name, "error": error_json(images.failures[i])}
        if i in images.failures
        else {"image": name, **encode(next(rows))}
        for i, name in enumerate(images.names)
    ]
    if len(images.failures) == len(images.names):
        return failure(images.failures[0], **more, results=results)
    return jsonify(**more, results=results)

"""Graft's own protocol: /v1/classify, /v1/features, /v1/explain, /v1/models."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flask import Request, Response, jsonify, request

from models.errors import InputError
from models.runtime import Array
from service.bodies.images import IMAGES
from service.caller import Caller
from service.decoding import Decoded, Made, Make, loads
from service.encoding import result_json
from service.errors import error_json, failure, row_error
from service.explaining import Question, load_photo
from service.front.wsgi import GONE, REQUEST_ID
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes, json_response
from service.protocols.asking import check_vectors
from service.protocols.v1_answers import (
    Classification,
    Explained,
    Features,
    ImageFeatures,
    ModelDetails,
    ModelList,
    explained,
    model_details,
    model_list,
)
from service.protocols.v1_parameters import Choosing, Classify, Explain, FeaturesOf, OfModel
from service.records import RECORD
from service.registry import Registry
from service.steps import Steps


def routes(registry: Registry) -> Routes:
    """The routes below /v1, over the models of a registry."""
    routes = Routes("v1", "/v1")

    def asking(given: Choosing, asked: Request) -> Caller:
        """Who asks, and until when."""
        seconds = registry.config.timeout_s
        if given.timeout_ms is not None:
            if given.timeout_ms > 1000 * seconds:
                raise InputError(
                    f"timeout_ms is {given.timeout_ms}; at most {1000 * seconds:.0f} are granted here."
                )
            seconds = given.timeout_ms / 1000
        record = asked.environ[RECORD]
        return Caller(record.began + seconds, asked.environ.get(GONE), record)

    def decoded(
        asked: Request,
        make: Make[Made],
        caller: Caller,
        check: Callable[[int], None] = lambda count: None,
    ) -> Decoded[Made]:
        """What `make` makes of the images of the request, whose bytes are let go of; `check` hears of their number."""
        with registry.bodies.uploads(asked, caller) as uploads:
            check(len(uploads))
            return registry.decoder.decode(uploads, make, caller)

    @routes.post("/classify", Classify, body=IMAGES, answer=Classification, statuses=(404,))
    def classify(given: Classify, asked: Request) -> Steps[Response]:
        """Tells the most probable classes of each image, or the number that a regression gives.

        Images that cannot be read have an error in their place.
        """
        caller = asking(given, asked)
        with registry.use(given.model, *given.which, caller.record) as served:
            model = served.model
            if not model.is_regression:
                model.require_classifier()
            images = decoded(asked, loads(model.card.preprocessing), caller)
            rows = yield from served.results_in_steps(images.pixels, caller)
            return _response(
                asked, images, rows, lambda row: result_json(row, model, given.top_k), model=served.name
            )

    @routes.post("/features", FeaturesOf, body=IMAGES, answer=Features, statuses=(404,))
    def features(given: FeaturesOf) -> Response:
        """Gives a feature vector of each image: what `graft features` writes.

        Without a cut it is `pool`, else what the last layer reads. As base64 they are little-endian float32, in
        row-major order.
        """
        caller = asking(given, request)
        with registry.use(given.model, *given.which, caller.record) as served:
            model = served.feature_model(given.cut, given.pool, given.norm)
            (cut,) = model.cuts

            def check(count: int) -> None:
                check_vectors(registry, model, count)

            images = decoded(request, loads(served.model.card.preprocessing), caller, check)
            rows = served.vectors(images.pixels, model, caller)

            def vector_json(row: Array) -> ImageFeatures:
                numbers = _base64_float32(row) if given.encoding == "base64" else row.tolist()
                return {"shape": list(row.shape), "features": numbers}

            return _response(request, images, rows, vector_json, model=served.name, cut=cut)

    @routes.post(
        "/explain", Explain, body=IMAGES, answer={JSON: Explained, "image/png": None}, statuses=(404,)
    )
    def explain(given: Explain) -> Response:
        """Shows what in a photo speaks for a class: a heat map (Grad-CAM), as numbers or over the photo.

        Takes one image. It says where evidence for the class lies, not that the class is right.
        """
        caller = asking(given, request)
        picture = _wants_picture(given)
        with registry.use(given.model, *given.which, caller.record) as served:
            if served.model.is_regression and given.class_:
                raise InputError(f"{served.name} gives a number, not classes; ask without class.")
            preprocessing = served.model.card.preprocessing
            images = decoded(
                request,
                lambda upload, _: load_photo(upload, preprocessing, given.size),
                caller,
                _check_single,
            )
            for failed in images.failures.values():
                raise failed
            (name,), (photo,) = images.names, images.pixels
            question = Question(photo, given.class_, given.top_k, picture)
            explanation = registry.explaining.explain(served, given.cut, question, caller)
            response = (
                Response(explanation.picture, content_type="image/png")
                if picture
                else jsonify(explained(served, name, photo, explanation.maps))
            )
            response.headers["Vary"] = "Accept"
            return response

    @routes.get("/models", answer=ModelList)
    def models(_: NoParameters) -> Response:
        """Lists the models: those that answer, those that are being loaded, and those that could not be."""
        return jsonify(model_list(registry))

    @routes.get("/models/{name}", OfModel, answer=ModelDetails, statuses=(404,))
    def model(given: OfModel) -> Response:
        """Tells all about one model: its versions and their labels, and its card with the names of its classes."""
        return jsonify(model_details(registry, given.name, *given.which))

    return routes


def _response(
    asked: Request,
    images: Decoded[Any],
    rows: Iterable[Any],
    encode: Callable[[Any], Mapping[str, Any]],
    **fields: Any,
) -> Response:
    """A result for each image in its place, or why there is none; `fields` stand before the results."""
    outcomes: Iterator[Any] = iter(rows)
    results, errors = [], []
    for i, name in enumerate(images.names):
        outcome = images.failures[i] if i in images.failures else next(outcomes)
        if isinstance(outcome, Exception):
            errors.append(row_error(outcome, asked.environ.get(REQUEST_ID, "")))
            results.append({"image": name, "error": error_json(errors[-1])})
        else:
            results.append({"image": name, **encode(outcome)})
    if len(errors) == len(results):
        return failure(errors[0], asked, **fields, results=results)
    return json_response(**fields, results=results)


def _wants_picture(given: Explain) -> bool:
    """Whether the answer is a PNG.

    Raises:
        InputError: it should show more than one class.
    """
    offered = {JSON: "json", "image/png": "png"}
    preferred = request.accept_mimetypes.best_match(offered, JSON)
    if (given.format or offered[preferred]) == "json":
        return False
    if given.top_k > 1:
        raise InputError(
            f"top_k is {given.top_k}, and a picture shows one class; expected 1, or format=json."
        )
    if len(given.class_) > 1:
        raise InputError(
            f"class is given {len(given.class_)} times, and a picture shows one; expected one, or format=json."
        )
    return True


def _check_single(images: int) -> None:
    if images > 1:
        raise InputError(f"the request holds {images} images; one at a time is explained.")


def _base64_float32(values: Array) -> str:
    """An array as base64 of little-endian float32 in row-major order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")

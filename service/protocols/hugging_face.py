"""Hugging Face's image-classification and image-feature-extraction: what `InferenceClient(model=URL)` sends.

The bytes of an image, or JSON with base64 and parameters; the answer is a bare list. Sources:
https://huggingface.co/docs/inference-providers, its tasks' specifications, and the client's own code.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from flask import Response, jsonify, request
from numpy.typing import NDArray

from models.errors import FieldError, InputError, UnknownModelError
from models.names import PROBABILITIES
from models.settings import setting, settings
from service.bodies.json_images import image_of_base64, parse_json
from service.bodies.memory import Share
from service.bodies.upload import Upload
from service.openapi.routes import JSON, Routes
from service.protocols.asking import Named, caller_of, check_vectors, checked_fields, decode_all
from service.protocols.views import answer, vectors
from service.records import RECORD
from service.registry import Registry
from service.served import Served
from service.shapes import FailureText, Shape, text_body

SHAPE = Shape(re.compile(r"/models(/|$)"), text_body, FailureText)
CLASSIFICATION = "image-classification"
EXTRACTION = ("image-feature-extraction", "feature-extraction")
_TOP_K = 5  # as in Hugging Face's pipelines
_FORM = '{"inputs": "<base64>", "parameters": {...}}'
# What the client's feature_extraction sends beside its input; of what is for text, only that it is not wanted.
_ROOT = {"normalize", "dimensions", "encoding_format"}
_OF_TEXT = {"truncate", "truncation_direction", "prompt_name"}


class Score(TypedDict):
    """A class, and how probable it is."""

    label: str
    score: float
    rejected: NotRequired[
        Annotated[bool, "Whether the image is none of the classes, where the model can tell."]
    ]


@settings
class Task(Named):
    """Of /models/NAME/pipeline/TASK."""

    task: str = setting("", "image-classification, or image-feature-extraction.")


@dataclass(frozen=True)
class _Asked:
    """A request: its images, whether they came as a list, and its parameters."""

    uploads: list[Upload]
    listed: bool
    parameters: dict[str, Any]


def routes(registry: Registry) -> Routes:
    """The routes below /models."""
    routes = Routes("hugging_face", "/models", FailureText)
    body = {"image/*": None, JSON: dict[str, Any]}

    @routes.post("/{name}", Named, body=body, answer=list[Any], statuses=(404,))
    def pipeline(given: Named) -> Response:
        """Does what the model is for: classes of an image, or its features."""
        with registry.use(given.name, record=request.environ[RECORD]) as served:
            classifies = served.model.card.task != "features"
            return _classes(registry, served) if classifies else _features(registry, served)

    @routes.post("/{name}/pipeline/{task}", Task, body=body, answer=list[Any], statuses=(404,))
    def pipeline_of_task(given: Task) -> Response:
        """Gives the classes of an image, or its features, as the address says."""
        if given.task not in (CLASSIFICATION, *EXTRACTION):
            raise UnknownModelError(
                f"the task {given.task[:60]!r} is none of images; there is {CLASSIFICATION}, {EXTRACTION[0]}."
            )
        with registry.use(given.name, record=request.environ[RECORD]) as served:
            classifies = given.task == CLASSIFICATION
            return _classes(registry, served) if classifies else _features(registry, served)

    return routes


def _classes(registry: Registry, served: Served) -> Response:
    served.model.require_classifier()
    caller = caller_of(registry, request)
    with registry.bodies.memory.share() as share:
        asked = _asked(registry, share, set())
        top_k = _top_k(asked.parameters)
        images = decode_all(registry, served, asked.uploads, caller)
    result = answer(served, images, [PROBABILITIES], caller)
    rejected = itertools.repeat(None) if result.rejected is None else result.rejected
    rows = [
        _scores(served, row, top_k, none_of_them)
        for row, none_of_them in zip(result.tensors[PROBABILITIES], rejected, strict=False)
    ]
    return jsonify(rows if asked.listed else rows[0])


def _scores(served: Served, row: NDArray[np.float32], top_k: int, rejected: bool | None) -> list[Score]:
    scores: list[Score] = [
        {"label": one.label.name, "score": one.probability} for one in served.model.top(row, top_k)
    ]
    if rejected is not None:
        for score in scores:
            score["rejected"] = rejected
    return scores


def _features(registry: Registry, served: Served) -> Response:
    caller = caller_of(registry, request)
    with registry.bodies.memory.share() as share:
        asked = _asked(registry, share, _ROOT | _OF_TEXT)
        normalize = asked.parameters.get("normalize") or False
        if not isinstance(normalize, bool):
            raise FieldError(f"normalize is {repr(normalize)[:40]}; expected true or false.", "normalize")
        features = served.feature_model(None, "avg", "l2" if normalize else None)
        width = check_vectors(registry, features, len(asked.uploads))
        _check_root(asked.parameters, width)
        images = decode_all(registry, served, asked.uploads, caller)
    return jsonify([row.tolist() for row in vectors(served, images, features, caller)])


def _check_root(parameters: dict[str, Any], width: int) -> None:
    """Refuse what cannot be heeded."""
    for name in _OF_TEXT:
        if parameters.get(name) not in (None, False):
            raise FieldError(f"{name} is for text; leave it out.", name)
    if parameters.get("dimensions") not in (None, width):
        raise FieldError(
            f"dimensions is {repr(parameters['dimensions'])[:40]}; there are {width}.", "dimensions"
        )
    if parameters.get("encoding_format") not in (None, "float"):
        raise FieldError("encoding_format is not float, which is all there is here.", "encoding_format")


def _asked(registry: Registry, share: Share, root: set[str]) -> _Asked:
    """The images and parameters of a request. `root`: parameters that may stand beside the images."""
    body = registry.bodies.body(request, share)
    if request.mimetype != "application/json":
        if not body:
            raise InputError(f"the request has no body; expected the bytes of an image, or JSON: {_FORM}.")
        return _Asked([Upload("image", body)], False, {})
    fields = checked_fields(parse_json(body, share, _FORM), _FORM, {"inputs"}, {"parameters", *root})
    inputs, parameters = fields["inputs"], fields.get("parameters")
    if not isinstance(parameters, dict | None):
        raise FieldError(f"parameters are {repr(parameters)[:40]}; expected an object.", "parameters")
    allowed = root or {"top_k", "function_to_apply"}
    for name in parameters or {}:
        if name not in allowed:
            raise FieldError(
                f"the parameter {name[:60]!r} is not known; expected {', '.join(sorted(allowed))}.", name
            )
    beside = {name: value for name, value in fields.items() if name in root}
    listed = isinstance(inputs, list)
    names = [f"inputs[{i}]" for i in range(len(inputs))] if listed else ["inputs"]
    uploads = [
        Upload(name, image_of_base64(text, name))
        for name, text in zip(names, inputs if listed else [inputs], strict=True)
    ]
    return _Asked(uploads, listed, {**(parameters or {}), **beside})


def _top_k(parameters: dict[str, Any]) -> int:
    function = parameters.get("function_to_apply")
    if function not in (None, "softmax"):
        raise FieldError(
            f"function_to_apply is {repr(function)[:40]}; expected softmax, by which the probabilities are calibrated.",
            "function_to_apply",
        )
    top_k = parameters.get("top_k")
    if top_k is None:
        return _TOP_K
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise FieldError(f"top_k is {repr(top_k)[:40]}; expected a whole number of at least 1.", "top_k")
    return top_k

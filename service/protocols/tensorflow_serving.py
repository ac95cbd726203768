"""TensorFlow Serving's REST interface: predict in rows and columns, classify, regress, status and metadata.

Source: https://www.tensorflow.org/tfx/serving/api_rest, and TensorFlow Serving's own code where that says otherwise:
the key of classify and regress is `results`, and bodies are JSON whatever their content type says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flask import Response, jsonify, request
from numpy.typing import NDArray

from models.errors import InputError, ModelError
from models.model import Model
from models.names import INPUT, PROBABILITIES, VALUE
from models.settings import setting, settings
from service.bodies.json_images import image_of_base64
from service.bodies.memory import Share
from service.bodies.upload import Upload
from service.caller import Caller
from service.openapi.routes import JSON, Routes
from service.protocols.asking import (
    Named,
    NamedVersion,
    caller_of,
    check_count,
    checked_fields,
    decode_all,
    json_of_body,
)
from service.protocols.inferring import Which
from service.protocols.listed_models import version_status
from service.protocols.tensors import numbers
from service.protocols.views import Answer, Output, answer, outputs_of, to_pixels
from service.records import RECORD
from service.registry import Registry
from service.served import Served
from service.shapes import FailureText, Shape, text_body

# Behind the name there is a verb, a version or a label, or `metadata`; the name alone is Graft's own path.
SHAPE = Shape(re.compile(r"/v1/models/[^/]+(:[a-z]|/versions/|/labels/|/metadata$)"), text_body, FailureText)
SIGNATURES = ("serving_default", "serving_pixels")
KINDS = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    **{f"{sign}int{bits}": f"DT_{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "DT_BOOL",
}
_IMAGE = '{"b64": "<image file>"} or [[[r, g, b], ...], ...]'
_PREDICT = f'{{"instances": [{_IMAGE}, ...]}} or {{"inputs": [...]}}'
_EXAMPLES = '{"examples": [{"image": {"b64": "<image file>"}}, ...]}'


@settings
class NamedLabel(Named):
    """A version of a model by its label."""

    label: str = setting("", "A label that stands for a version, such as stable or canary.")


def routes(registry: Registry) -> Routes:
    """The routes below /v1/models that TensorFlow Serving has."""
    routes = Routes("tensorflow_serving", "/v1/models", FailureText)

    def declare(
        method: str, behind: str, name: str, view: Callable[[Which], Response], *, alone: bool = True
    ) -> None:
        """A route of a model (unless its path is another's `alone`), of a version of it, and of a label."""

        def newest(given: Named) -> Response:
            return view((given.name, None, None))

        def of_version(given: NamedVersion) -> Response:
            return view((given.name, given.version, None))

        def of_label(given: NamedLabel) -> Response:
            return view((given.name, None, given.label))

        sentence = (view.__doc__ or "").partition(".")[0]
        newest.__doc__ = view.__doc__
        of_version.__doc__ = f"{sentence}, in one version."
        of_label.__doc__ = f"{sentence}, in the version that a label stands for."
        body = {JSON: dict[str, Any]} if method == "POST" else {}
        declared: dict[str, Any] = {"answer": dict[str, Any], "body": body, "statuses": (404,)}
        if alone:
            routes.route(method, f"/{{name}}{behind}", Named, name=name, **declared)(newest)
        paths = (("versions/{version}", NamedVersion, of_version), ("labels/{label}", NamedLabel, of_label))
        for path, parameters, declared_view in paths:
            kind = path.partition("s/")[0]
            routes.route(
                method, f"/{{name}}/{path}{behind}", parameters, name=f"{name}_of_{kind}", **declared
            )(declared_view)

    def predict(which: Which) -> Response:
        """Gives the outputs of a model for images, in rows or columns as they were sent."""
        with registry.use(*which, record=request.environ[RECORD]) as served:
            with registry.bodies.memory.share() as share:
                fields = _fields(registry, share, {"instances", "inputs"})
                in_rows = "instances" in fields
                if in_rows == ("inputs" in fields):
                    raise InputError(
                        f"the body has both instances and inputs, or none of them; expected {_PREDICT}."
                    )
                given = fields["instances"] if in_rows else _column(fields["inputs"])
                caller = caller_of(registry, request)
                images = _images(registry, served, given, "instances" if in_rows else "inputs", caller)
            names = [output.name for output in outputs_of(served.model, registry.config.outputs)]
            result = answer(served, images, names, caller)
        columns = {name: values.tolist() for name, values in result.tensors.items()}
        if len(names) == 1:
            told = columns[names[0]]
        elif in_rows:
            told = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        else:
            told = columns
        return _response("predictions" if in_rows else "outputs", told, result)

    def examples(which: Which, output: str, check: Callable[[Model], None]) -> tuple[Served, Answer]:
        """What a model answers to the examples of a body."""
        with registry.use(*which, record=request.environ[RECORD]) as served:
            check(served.model)
            with registry.bodies.memory.share() as share:
                fields = _fields(registry, share, {"examples", "context"})
                if fields.get("context"):
                    raise InputError(f"context is not empty; an image is all that is looked at: {_EXAMPLES}.")
                if "examples" not in fields:
                    raise InputError(f"the body has no examples; expected {_EXAMPLES}.")
                caller = caller_of(registry, request)
                images = _images(registry, served, fields["examples"], "examples", caller)
            return served, answer(served, images, [output], caller)

    def classify(which: Which) -> Response:
        """Gives each image's classes with their probabilities, in the order of the model's card."""
        served, result = examples(which, PROBABILITIES, Model.require_classifier)
        labels = [label.name for label in served.model.card.labels]
        rows = result.tensors[PROBABILITIES].tolist()
        return _response("results", [list(zip(labels, row, strict=True)) for row in rows], result)

    def regress(which: Which) -> Response:
        """Gives the number that a regression tells of each image."""
        _, result = examples(which, VALUE, _require_regression)
        return _response("results", result.tensors[VALUE][:, 0].tolist(), result)

    def status(which: Which) -> Response:
        """Tells whether versions of a model are available."""
        name, version, label = which
        if label is not None:
            version = registry.get(name, None, label).version
        return jsonify(model_version_status=version_status(registry, registry.known_name(name), version))

    def metadata(which: Which) -> Response:
        """Tells inputs and outputs of a model, as signatures."""
        with registry.use(*which) as served:
            return jsonify(metadata_of(served, outputs_of(served.model, registry.config.outputs)))

    declare("POST", ":predict", "predict", predict)
    declare("POST", ":classify", "classify_examples", classify)
    declare("POST", ":regress", "regress_examples", regress)
    declare("GET", "/metadata", "signatures", metadata)
    declare("GET", "", "status", status, alone=False)
    return routes


def _fields(registry: Registry, share: Share, known: set[str]) -> dict[str, Any]:
    """The body's JSON object; a signature that it names is one of ours."""
    form = _PREDICT if "instances" in known else _EXAMPLES
    fields = checked_fields(json_of_body(registry, share, form), form, set(), {*known, "signature_name"})
    check_signature(fields.get("signature_name", ""))
    return fields


def check_signature(name: Any) -> None:
    """Refuse a signature that is none of ours.

    Raises:
        InputError: it is one.
    """
    if name not in ("", *SIGNATURES):
        raise InputError(f"signature_name is {repr(name)[:60]}; expected {' or '.join(SIGNATURES)}.")


def _column(given: Any) -> Any:
    """The images of `inputs`: by the input's name, or alone; one, or a list of them."""
    if isinstance(given, dict) and "b64" not in given:
        if set(given) != {INPUT}:
            raise InputError(
                f"inputs are {', '.join(map(repr, list(given)[:6]))[:100]}; expected one, {INPUT!r}."
            )
        given = given[INPUT]
    return [given] if isinstance(given, dict) else given


def _images(
    registry: Registry, served: Served, given: Any, field: str, caller: Caller
) -> list[NDArray[np.uint8]]:
    """The pixels of a list of images: all files in base64, or all numbers."""
    if not isinstance(given, list):
        raise InputError(f"{field} is no list; expected {field}: [{_IMAGE}, ...].")
    check_count(registry, len(given))
    images = [one[INPUT] if isinstance(one, dict) and set(one) == {INPUT} else one for one in given]
    if all(isinstance(one, dict) and set(one) == {"b64"} for one in images):
        names = (f"{field}[{i}]" for i in range(len(images)))
        uploads = [
            Upload(name, image_of_base64(one["b64"], name)) for name, one in zip(names, images, strict=True)
        ]
        return decode_all(registry, served, uploads, caller)
    if not all(isinstance(one, list) for one in images):
        raise InputError(
            f"{field} holds something else than images, or both kinds; expected each as {_IMAGE}."
        )
    with caller.record.stage("decode", len(images)):
        values, whole = numbers(images, field)
        return to_pixels(values, served.model.card.preprocessing.size, field, whole=whole)


def _require_regression(model: Model) -> None:
    if not model.is_regression:
        raise ModelError(f"{model.card.name}: is no regression; ask for :classify or :predict.")


def _response(key: str, told: Any, result: Answer) -> Response:
    """The answer, and beside it which images are none of the classes, where the model can tell."""
    rejected = {} if result.rejected is None else {"rejected": result.rejected}
    return jsonify({key: told, **rejected})


def metadata_of(served: Served, outputs: Sequence[Output]) -> dict[str, Any]:
    """Inputs and outputs of a model, as signatures."""
    height, width = served.model.card.preprocessing.size
    taken = {"serving_default": ("DT_STRING", ()), "serving_pixels": ("DT_UINT8", (height, width, 3))}
    given = {output.name: _tensor(output.name, KINDS[output.dtype.name], output.shape) for output in outputs}
    signatures = {
        name: {
            "inputs": {INPUT: _tensor(INPUT, *taken[name])},
            "outputs": given,
            "method_name": "tensorflow/serving/predict",
        }
        for name in SIGNATURES
    }
    return {
        "model_spec": {"name": served.name, "signature_name": "", "version": str(served.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _tensor(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """A tensor's description; -1 is the batch, and sizes are text."""
    sizes = [{"size": str(size), "name": ""} for size in (-1, *shape)]
    return {"dtype": kind, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": f"{name}:0"}

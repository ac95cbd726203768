"""TensorFlow Serving's `PredictionService` and `ModelService`, as its REST interface answers here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.errors import InputError
from models.names import INPUT, PROBABILITIES, VALUE
from service.grpc.messages import message_class, message_of
from service.grpc.method import Asked, Method, Methods
from service.grpc.tensor_protos import read_tensor, tensor_of
from service.protocols.inferring import Inferred, Which, infer
from service.protocols.listed_models import version_status
from service.protocols.tensorflow_serving import check_signature, metadata_of
from service.protocols.tensors import BYTES, InferRequest, Tensor, Wanted
from service.protocols.views import outputs_of
from service.registry import Registry
from service.steps import Steps

PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_PACKAGE = "tensorflow.serving"
_REJECTED = "rejected"
# In an example, the feature that holds an image file: our own name, and the one that TensorFlow's examples have.
_FEATURES = (INPUT, "image/encoded")
_SIGNATURES = "signature_def"


def methods(registry: Registry) -> Methods:
    """The methods of the services, over the models of a registry."""

    def predict(message: Any, asked: Asked) -> Steps[Any]:
        which = _which(message.model_spec)
        wanted = tuple(Wanted(name, binary=True) for name in message.output_filter if name != _REJECTED)
        if set(message.inputs) != {INPUT}:
            names = ", ".join(map(repr, sorted(message.inputs)))[:100] or "none"
            raise InputError(f"the inputs are {names}; expected one, {INPUT!r}.")
        inferred = yield from infer(
            registry,
            which,
            asked.record,
            lambda share: read_tensor(message.inputs[INPUT], wanted or None, share),
            lambda timeout_s: asked.caller(registry, timeout_s),
        )
        response = message_class(f"{_PACKAGE}.PredictResponse")(
            model_spec=_spec(inferred, message.model_spec)
        )
        for output, values in inferred.outputs:
            assert isinstance(values, np.ndarray)
            response.outputs[output.name].CopyFrom(tensor_of(values))
        if inferred.rejected is not None and (
            not message.output_filter or _REJECTED in message.output_filter
        ):
            response.outputs[_REJECTED].CopyFrom(tensor_of(np.array(inferred.rejected)))
        return response

    def examples(message: Any, output: str, asked: Asked) -> Steps[tuple[Inferred, Any]]:
        """What a model answers to the examples of a message: (N, ...)."""
        which = _which(message.model_spec)
        files = files_of(message.input)
        tensor = Tensor(INPUT, BYTES, (len(files),), files)
        request = InferRequest((tensor,), (Wanted(output, binary=True),), binary=True)
        inferred = yield from infer(
            registry,
            which,
            asked.record,
            lambda share: request,
            lambda timeout_s: asked.caller(registry, timeout_s),
        )
        if inferred.rejected is not None:
            asked.trailers.append((_REJECTED, json.dumps(inferred.rejected)))
        ((_, values),) = inferred.outputs
        return inferred, values

    def classify(message: Any, asked: Asked) -> Steps[Any]:
        inferred, rows = yield from examples(message, PROBABILITIES, asked)
        response = message_class(f"{_PACKAGE}.ClassificationResponse")(
            model_spec=_spec(inferred, message.model_spec)
        )
        names = [label.name for label in inferred.labels]
        for row in rows.tolist():
            classes = response.result.classifications.add().classes
            for label, score in zip(names, row, strict=True):
                classes.add(label=label, score=score)
        return response

    def regress(message: Any, asked: Asked) -> Steps[Any]:
        inferred, rows = yield from examples(message, VALUE, asked)
        response = message_class(f"{_PACKAGE}.RegressionResponse")(
            model_spec=_spec(inferred, message.model_spec)
        )
        for value in rows[:, 0].tolist():
            response.result.regressions.add(value=value)
        return response

    def model_metadata(message: Any, asked: Asked) -> Any:
        if list(message.metadata_field) != [_SIGNATURES]:
            raise InputError(
                f"metadata_field is {list(message.metadata_field)[:6]}; expected [{_SIGNATURES!r}], all that there is."
            )
        with registry.use(*_which(message.model_spec)) as served:
            metadata = metadata_of(served, outputs_of(served.model, registry.config.outputs))
        response = message_of(f"{_PACKAGE}.GetModelMetadataResponse", {"model_spec": metadata["model_spec"]})
        signatures = message_of(f"{_PACKAGE}.SignatureDefMap", metadata["metadata"][_SIGNATURES])
        response.metadata[_SIGNATURES].Pack(signatures)
        return response

    def status(message: Any, asked: Asked) -> Any:
        name, version, label = _which(message.model_spec)
        if label is not None:
            version = registry.get(name, None, label).version
        rows = version_status(registry, registry.known_name(name), version)
        return message_of(f"{_PACKAGE}.GetModelStatusResponse", {"model_version_status": rows})

    return {
        f"/{PREDICTION}/Predict": Method(f"{_PACKAGE}.PredictRequest", predict, lane="work"),
        f"/{PREDICTION}/Classify": Method(f"{_PACKAGE}.ClassificationRequest", classify, lane="work"),
        f"/{PREDICTION}/Regress": Method(f"{_PACKAGE}.RegressionRequest", regress, lane="work"),
        f"/{PREDICTION}/GetModelMetadata": Method(f"{_PACKAGE}.GetModelMetadataRequest", model_metadata),
        f"/{MODELS}/GetModelStatus": Method(f"{_PACKAGE}.GetModelStatusRequest", status),
    }


def _which(spec: Any) -> Which:
    """The model that a message names.

    Raises:
        InputError: it names none, or a signature that is none of ours.
    """
    if not spec.name:
        raise InputError("model_spec has no name; expected that of a model.")
    check_signature(spec.signature_name)
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _spec(inferred: Inferred, asked: Any) -> Any:
    """Which model has answered."""
    spec = message_class(f"{_PACKAGE}.ModelSpec")(name=inferred.model, signature_name=asked.signature_name)
    spec.version.value = inferred.version
    return spec


def files_of(given: Any) -> Sequence[bytes]:
    """The image files of examples."""
    kind = given.WhichOneof("kind")
    if kind == "example_list_with_context" and given.example_list_with_context.HasField("context"):
        raise InputError("the examples have a context; an image is all that is looked at.")
    listed = getattr(given, kind).examples if kind is not None else ()
    return [_file(example, place) for place, example in enumerate(listed)]


def _file(example: Any, place: int) -> bytes:
    features = example.features.feature
    name = next((name for name in _FEATURES if set(features) == {name}), "")
    held: Sequence[bytes] = features[name].bytes_list.value if name else ()
    if len(held) != 1:
        names = ", ".join(map(repr, sorted(features)))[:100] or "none"
        raise InputError(
            f"example {place} has the features {names}; expected one, {' or '.join(map(repr, _FEATURES))}, with the "
            "bytes of an image file."
        )
    return held[0]

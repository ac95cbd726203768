"""Inference as the Open Inference Protocol asks for it, once its request is parsed: the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import Label
from models.errors import InputError
from models.names import INPUT
from models.runtime import Array
from service.bodies.json_images import image_of_base64
from service.bodies.memory import Share
from service.bodies.upload import Upload
from service.caller import Caller
from service.protocols.asking import check_count, decode_all
from service.protocols.tensor_answers import classes_of
from service.protocols.tensors import BYTES, InferRequest, Wanted
from service.protocols.views import Output, answer_in_steps, outputs_of, to_pixels
from service.records import RequestRecord
from service.registry import Registry
from service.served import Served
from service.steps import Steps

Which = tuple[str, int | None, str | None]  # name, version and label of a model


@dataclass(frozen=True)
class Inferred:
    """What is answered: each output an array (N, ...), or rows of BYTES; `rejected`: which images are no class."""

    model: str
    version: int
    id: str | None
    outputs: list[tuple[Wanted, Array | list[list[bytes]]]]
    rejected: list[bool] | None
    labels: Sequence[Label]  # of the model's classes


def infer(
    registry: Registry,
    which: Which,
    record: RequestRecord,
    parse: Callable[[Share], InferRequest],
    caller_of: Callable[[float | None], Caller],
) -> Steps[Inferred]:
    """The outputs of a model for the images of a request, which `parse` gives; `caller_of` hears of its own time.

    Raises:
        GraftError: the request is none, or has no answer.
    """
    with registry.use(*which, record=record) as served:
        with registry.bodies.memory.share() as share:
            asked = parse(share)
            _check_model(asked, served)
            known = {output.name: output for output in outputs_of(served.model, registry.config.outputs)}
            wanted = asked.outputs or tuple(Wanted(output, asked.binary) for output in known)
            for output in wanted:
                _check_output(output, known, served.name)
            caller = caller_of(asked.timeout_s)
            images = _images(registry, served, asked, caller)
        result = yield from answer_in_steps(served, images, [output.name for output in wanted], caller)
        labels = served.model.card.labels
        outputs = [(output, _values(output, result.tensors[output.name], labels)) for output in wanted]
    return Inferred(served.name, served.version, asked.id, outputs, result.rejected, labels)


def check_size(inferred: Inferred, most: int) -> None:
    """Refuse an answer that would be too large as JSON.

    Raises:
        InputError: it would be.
    """
    count = sum(
        values.size
        for wanted, values in inferred.outputs
        if isinstance(values, np.ndarray) and not wanted.binary
    )
    if count > most:
        raise InputError(
            f"the answer has {count:,} numbers; in JSON at most {most:,} are told. Ask for binary outputs."
        )


def _check_model(asked: InferRequest, served: Served) -> None:
    """Refuse a request that says another model than it was sent to."""
    for in_body, name in zip(asked.model, (served.name, str(served.version)), strict=True):
        if in_body not in ("", name):
            raise InputError(
                f"the body is for the model {in_body[:60]!r}, and was sent to {name!r}. Say one of them."
            )


def _check_output(wanted: Wanted, known: Mapping[str, Output], model: str) -> None:
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


def _values(wanted: Wanted, values: Array, labels: Sequence[Label]) -> Array | list[list[bytes]]:
    if not wanted.classes:
        return values
    return classes_of(values, wanted.classes, [label.name for label in labels])

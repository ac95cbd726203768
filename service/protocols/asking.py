"""What protocols do alike with a request: who asks, for which model, with which images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Request, request
from numpy.typing import NDArray

from models.errors import FieldError, InputError
from models.settings import setting, settings
from service.bodies.json_images import parse_json
from service.bodies.memory import Share
from service.bodies.upload import Upload, too_many_images
from service.caller import Caller
from service.decoding import loads
from service.front.wsgi import GONE, REQUEST_ID
from service.records import RECORD, RequestRecord
from service.registry import Registry
from service.served import Served

if TYPE_CHECKING:
    from models.features import FeatureModel

# Values in the JSON of a request: three images of 299 x 299 pixels as numbers. Reading more of them would keep all
# other threads waiting for a second, those too that answer whether the service is alive.
JSON_VALUES = 1_000_000
_log = logging.getLogger("graft")


@settings
class Named:
    """A model by its name."""

    name: str = setting("", "Name of a model.")


@settings
class NamedVersion(Named):
    """A version of a model."""

    version: int = setting(0, "Version of the model.", least=0)


def caller_of(registry: Registry, asked: Request, timeout_s: float | None = None) -> Caller:
    """Who asks, and until when: as long as the service allows, or the shorter time that the request has itself."""
    record = asked.environ[RECORD]
    return Caller(deadline(registry, record, timeout_s), asked.environ.get(GONE), record)


def own_request_id() -> str:
    """The id of the request that is answered over HTTP at this moment."""
    known: str = request.environ.get(REQUEST_ID, "")
    return known


def deadline(registry: Registry, record: RequestRecord, timeout_s: float | None) -> float:
    """Until when a request may take, by the monotonic clock: what the service allows, or its own shorter time.

    Raises:
        InputError: it asks for more than that.
    """
    allowed = registry.config.timeout_s
    if timeout_s is not None and timeout_s > allowed:
        raise InputError(f"the request asks for {timeout_s:g} s; at most {allowed:g} s are granted here.")
    return record.began + (allowed if timeout_s is None else timeout_s)


def json_of_body(registry: Registry, share: Share, expected: str) -> Any:
    """The JSON of the request's body, whatever its content type is.

    Raises:
        InputError: it is none, or holds more values than the service takes.
        BusyError: there is no memory for it now.
    """
    body = registry.bodies.body(request, share)
    return parse_json(body, share, expected, JSON_VALUES)


def decode_all(
    registry: Registry, served: Served, uploads: Sequence[Upload], caller: Caller, field: str = ""
) -> list[NDArray[np.uint8]]:
    """The pixels of images, for protocols that cannot say that one of several is none. `field`: which holds them.

    Raises:
        ImageError: one of them is no image.
        InputError: there are too many.
        DeadlineError, CancelledError: as `Caller.check`.
    """
    check_count(registry, len(uploads))
    decoded = registry.decoder.decode(uploads, loads(served.model.card.preprocessing), caller)
    for error in decoded.failures.values():
        raise error
    return decoded.pixels


def check_count(registry: Registry, count: int) -> None:
    """Refuse a request without images, or with too many.

    Raises:
        InputError: it is one.
    """
    if not count:
        raise InputError("the request holds no image; expected at least one.")
    if count > registry.config.max_images:
        raise too_many_images(count, registry.config.max_images)


def check_vectors(registry: Registry, features: FeatureModel, images: int) -> int:
    """The numbers of a feature vector, where those of all images go together.

    Raises:
        InputError: they would be too many for one answer.
    """
    (cut,) = features.cuts
    width, most = math.prod(features.blank[cut].shape[1:]), registry.config.max_values
    if images * width > most:
        raise InputError(
            f"{images} images give {images * width:,} numbers at {cut}; at most {most:,} go together. Send fewer "
            "images."
        )
    return width


def checked_fields(values: Any, form: str, needed: set[str], allowed: set[str]) -> dict[str, Any]:
    """The JSON object of a request. `form`: what it should look like, for errors.

    Raises:
        FieldError: a field is missing or not known.
        InputError: it is no object.
    """
    if not isinstance(values, dict):
        raise InputError(f"the body is no object; expected {form}.")
    for name in sorted(needed - values.keys()):
        raise FieldError(f"{name} is missing; expected {form}.", name)
    for name in values:
        if name not in needed | allowed:
            raise FieldError(f"the field {name[:60]!r} is not known; expected {form}.", name[:60])
    return values


def log_change(text: str, event: str, model: str, request_id: str, version: int | None = None) -> None:
    """Log what an administrator has done, with the id of the request."""
    facts: dict[str, object] = {"event": event, "model": model, "request_id": request_id}
    if version is not None:
        facts["version"] = version
    _log.info("%s, as an administrator asked", text, extra=facts)

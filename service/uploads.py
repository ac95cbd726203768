"""From a request to decoded images: multipart forms, the bare bytes of one file, or JSON with base64."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from models.errors import ImageError, InputError
from service.config import ServiceConfig

# curl --data-binary sends the type of a web form unless it is told another
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
_TYPES = "multipart/form-data, an image type, application/octet-stream, or application/json"


@dataclass(frozen=True)
class Upload:
    """One image of a request: the client's name for it, and its bytes or why there are none."""

    name: str
    data: bytes | ImageError


def uploads(request: Request, config: ServiceConfig) -> list[Upload]:
    """The images of a request, not decoded yet.

    Raises:
        InputError: no images in it, or too many.
        UnsupportedMediaType: a content type that cannot hold images.
    """
    kind = request.mimetype
    if kind == "multipart/form-data":
        images = list(_from_form(request))
    elif kind == "application/json":
        images = list(_from_json(request.get_data()))
    elif kind.startswith("image/") or kind in _RAW:
        images = [Upload("image", request.get_data())]
        if not images[0].data:
            raise InputError(f"the request has no body; expected an image: {_TYPES}.")
    else:
        raise UnsupportedMediaType(f"the content type is {kind!r}; expected {_TYPES}.")
    if not images:
        raise InputError(
            'the request holds no image; expected at least one file in the form, or in "images".'
        )
    if len(images) > config.max_images:
        raise InputError(
            f"the request holds {len(images)} images; at most {config.max_images} go together. "
            "Send several requests."
        )
    return images


def _from_form(request: Request) -> Iterator[Upload]:
    fields = sorted(set(request.form))
    if fields:
        raise InputError(
            f"the form has fields that are no files: {', '.join(fields)[:100]}. Send images as files (curl -F "
            "image=@photo.jpg) and parameters in the address (?top_k=3)."
        )
    for files in request.files.listvalues():  # several may have the same field
        for file in files:
            yield Upload(file.filename or file.name or "image", file.read())


def _from_json(body: bytes) -> Iterator[Upload]:
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InputError(f'the body is no JSON ({exc}); expected {{"images": ["<base64>", ...]}}.') from exc
    if not isinstance(values, dict) or set(values) != {"images"} or not isinstance(values["images"], list):
        raise InputError(
            'the JSON has another form; expected {"images": ["<base64>", ...]} and nothing else.'
        )
    for i, text in enumerate(values["images"]):
        yield Upload(f"images[{i}]", _from_base64(text, f"images[{i}]"))


def _from_base64(text: object, name: str) -> bytes | ImageError:
    if not isinstance(text, str):
        return ImageError(f"{name}: {type(text).__name__}; expected an image file as base64 text.")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return ImageError(f"{name}: no base64; expected an image file in the standard base64 alphabet.")

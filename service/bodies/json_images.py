"""Images in JSON: base64, or addresses. `{"images": ["<base64>", {"url": "https://..."}]}`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from models.errors import ImageError, InputError
from service.bodies.memory import Share
from service.bodies.upload import Upload, too_many_images

_EXAMPLE = '{"images": ["<base64>", ...]}'
_FORM = f"expected {_EXAMPLE} and nothing else"
_VALUES = 100_000  # of a whole body: a few megabytes as objects
_VALUE_BYTES = 32  # of a number in a list, as an object
_SIGNS = b",:[{"  # one of them stands before each value but the first
_DIGITS = 40  # of a number: more than any float has
_MOST_WIDE = 4  # bytes that a character may take once it is text
_SPACE = b" \t\r\n\v\f"


def parse_json(body: bytes, share: Share, expected: str = _EXAMPLE, most: int = _VALUES) -> Any:
    """The value of a body of JSON, once it is sure to be small as objects.

    `most`: values that it may hold. `expected`: what it should have been, for errors.

    Raises:
        InputError: no JSON, with too many values, numbers that are too long, or a name twice in one object.
        BusyError: there is no memory for it now.
    """
    count = sum(body.count(sign) for sign in _SIGNS)
    if count > most:
        raise InputError(f"the JSON has up to {count:,} values; at most {most:,} are taken.")
    many = count > _VALUES
    if many:
        share.take(count * _VALUE_BYTES)
    # Its text, and the strings in it: one byte for a character, unless one of them needs more.
    text_bytes = 1 if body.isascii() else _MOST_WIDE
    share.take(len(body) * (text_bytes + (_MOST_WIDE if b"\\u" in body else text_bytes)))
    try:
        text = body.decode(json.detect_encoding(body))
        return json.loads(
            text,
            # Python's own take a tenth of the time; of whole numbers they read 4,300 digits at most.
            parse_int=None if many else _whole,
            parse_float=None if many else _number,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as exc:
        raise InputError(f"the body is no JSON ({exc}); expected {expected}.") from exc


def images_of_json(values: Any, most: int) -> Iterator[Upload | str]:
    """The images of a parsed body, which is emptied on the way; the address, where one stands for an image.

    Raises:
        InputError: it has another form, or too many images.
    """
    if not isinstance(values, dict) or set(values) != {"images"} or not isinstance(values["images"], list):
        raise InputError(f"the JSON has another form; {_FORM}.")
    images = values["images"]
    if len(images) > most:
        raise too_many_images(len(images), most)
    for i, entry in enumerate(images):
        images[i] = None  # its text is not needed beside its bytes
        if isinstance(entry, dict) and set(entry) == {"url"} and isinstance(entry["url"], str):
            yield entry["url"]
        else:
            yield Upload(f"images[{i}]", image_of_base64(entry, f"images[{i}]"))


def image_of_base64(text: object, name: str) -> bytes | ImageError:
    """The bytes of an image file that came as base64, or as a data URI; why there are none, by that name."""
    if not isinstance(text, str):
        return ImageError(
            f'{name}: {type(text).__name__}; expected an image file as base64 text, or {{"url": "https://..."}}.'
        )
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return ImageError(f"{name}: a data URI without base64; expected data:image/...;base64,...")
    try:
        letters = text.encode("ascii").translate(None, _SPACE)
        return base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError):
        return ImageError(
            f"{name}: no base64; expected an image file in the standard base64 alphabet.{_hint(text)}"
        )


def _hint(text: str) -> str:
    if "-" in text or "_" in text:
        return " The text has '-' or '_' of the URL-safe alphabet: write '+' and '/' in their places."
    return " Letters are missing at its end: pad it with '='." if len(text) % 4 else ""


def _number(text: str) -> float:
    if len(text) > _DIGITS:
        raise ValueError(f"a number of {len(text):,} characters")
    return float(text)


def _whole(text: str) -> int:
    _number(text)
    return int(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return values

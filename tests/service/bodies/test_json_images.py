"""Images in JSON: bounded before anything is built of them."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest

from models.errors import ImageError, InputError
from service.bodies.json_images import images_of_json, parse_json
from service.bodies.memory import Memory, Share
from service.bodies.upload import Upload


def parsed(body: bytes) -> object:
    return parse_json(body, Share(Memory(1 << 30)))


def data_of(text: object) -> bytes | ImageError:
    (upload,) = images_of_json({"images": [text]}, 64)
    assert isinstance(upload, Upload)
    return upload.data


def test_twenty_million_values_are_refused_before_any_is_built() -> None:
    body = b'{"images":[' + b"0," * 20_000_000 + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="up to 20,000,003 values; at most 100,000 are taken"):
            parsed(body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * 99_000, "recursion|nest|depth"),
        (b'{"images": [' + b"9" * 41 + b"]}", "a number of 41 characters"),
        (b'{"images": [1.' + b"9" * 5_000_000 + b"]}", "a number of 5,000,002 characters"),
        (b'{"images": [1e' + b"9" * 100 + b"]}", "a number of 102 characters"),
        (b'{"images": [NaN]}', "NaN is no number of JSON"),
        (b'{"images": [], "images": ["a"]}', "a name stands twice in one object"),
        (b'{"images": ["\xff"]}', "utf-8"),
        (b'{"images": ["a]}', "Unterminated string"),
    ],
)
def test_refusals(body: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parsed(body)


@pytest.mark.parametrize(
    "body", [b'{"images": [1, 2.5, "\xc3\xa9"]}', '{"images": [1, 2.5, "é"]}'.encode("utf-16")]
)
def test_json_in_its_encodings(body: bytes) -> None:
    assert parsed(body) == {"images": [1, 2.5, "é"]}


def test_text_that_needs_four_bytes_a_character_is_counted_so() -> None:
    memory = Memory(1000)
    body = json.dumps({"images": ["A" * 300]}).encode()
    with memory.share() as share:
        parse_json(body, share)
    wide = json.dumps({"images": ["A" * 300 + "😀"]})
    for form in (wide.encode(), json.dumps(json.loads(wide), ensure_ascii=False).encode()):
        with memory.share() as share, pytest.raises(InputError, match="takes more than"):
            parse_json(form, share)


def test_too_many_images_are_not_looked_at() -> None:
    with pytest.raises(InputError, match="holds 3 images; at most 2"):
        next(iter(images_of_json({"images": [object()] * 3}, 2)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("_-8=", "write '\\+' and '/' in their places"),
        ("AAA", "pad it with '='"),
        ("data:image/png,abc", "a data URI without base64"),
        ("data:image/png", "a data URI without base64"),
        ("é", "no base64"),
        ({"url": 3}, "images\\[0\\]: dict; expected an image file as base64 text, or"),
        ({"url": "http://x", "name": "x"}, "images\\[0\\]: dict"),
        (None, "images\\[0\\]: NoneType"),
    ],
)
def test_what_is_no_base64_is_told(text: object, reason: str) -> None:
    data = data_of(text)
    with pytest.raises(ImageError, match=reason):
        raise data  # type: ignore[misc]


def test_spaces_between_letters_build_nothing() -> None:
    content = bytes(range(256)) * 1000
    spaced = " ".join(base64.b64encode(content).decode())
    tracemalloc.start()
    try:
        assert data_of(spaced) == content
        assert tracemalloc.get_traced_memory()[1] < 6 * len(content)
    finally:
        tracemalloc.stop()


def test_addresses_are_given_as_they_are() -> None:
    assert list(images_of_json({"images": [{"url": "https://x/y.png"}]}, 64)) == ["https://x/y.png"]

"""Bodies that came packed: gzip and deflate, within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException

from models.errors import BusyError, InputError
from service.bodies.memory import Memory, Share
from service.bodies.packing import unpacked
from tests.fixtures import plain

MOST = 1 << 20
TEXT = bytes(range(256)) * 300


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def share(size: int = 1 << 30) -> Share:
    return Share(Memory(size))


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("GZip, identity", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", bare(TEXT)),
    ],
)
def test_unpacked(coding: str, body: bytes) -> None:
    assert unpacked(body, coding, MOST, share()) == TEXT


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("gzip", TEXT, "the body is no gzip"),
        ("gzip", b"", "cut off before its end"),
        ("gzip", gzip.compress(TEXT)[:-9], "cut off before its end"),
        ("gzip", gzip.compress(TEXT) + b"more", "the body is no gzip"),
        ("gzip", gzip.compress(b"") * 3000, "goes on behind the end of its gzip"),
        ("deflate", TEXT, "the body is no deflate"),
        ("deflate", zlib.compress(TEXT) + b"more", "goes on behind the end of its deflate"),
        ("deflate", zlib.compress(TEXT)[:-9], "cut off before its end"),
    ],
)
def test_what_is_not_packed_as_it_says(coding: str, body: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        unpacked(body, coding, MOST, share())


@pytest.mark.parametrize(
    ("coding", "status", "reason"),
    [
        ("br", 415, "the coding of the body is 'br'; expected gzip, deflate, or none"),
        ("zstd", 415, "expected gzip, deflate"),
        ("gzip, gzip", 415, "packed 2 times"),
        ("gzip", 413, "unpacks to more than 1,048,576 bytes"),
    ],
)
def test_bomb_and_unknown_codings(client: FlaskClient, coding: str, status: int, reason: str) -> None:
    body = gzip.compress(bytes(MOST + 1))
    response = client.post(
        "/v1/classify", data=body, content_type="image/png", headers={"Content-Encoding": coding}
    )
    assert (response.status_code, reason in response.get_json()["error"]["message"]) == (status, True)
    assert response.headers.get("Accept-Encoding") == ("gzip, deflate" if status == 415 else None)


def test_bomb_is_left_when_it_is_too_large() -> None:
    memory = Memory(1 << 40)
    with memory.share() as mine, pytest.raises(HTTPException, match="unpacks to more than"):
        unpacked(gzip.compress(bytes(50 << 20)), "gzip", MOST, mine)
    assert mine.taken <= MOST
    assert memory.taken == 0


def test_memory_is_counted_over_all_requests() -> None:
    memory = Memory(100_000)
    with memory.share() as first, memory.share() as second:
        assert unpacked(gzip.compress(TEXT), "gzip", MOST, first) == TEXT
        with pytest.raises(BusyError, match="Try again in a moment"):
            unpacked(gzip.compress(TEXT), "gzip", MOST, second)
    assert memory.taken == 0


def test_packed_image_is_classified(client: FlaskClient) -> None:
    response = client.post(
        "/v1/classify",
        data=gzip.compress(plain("red")),
        content_type="image/png",
        headers={"Content-Encoding": "gzip"},
    )
    assert response.get_json()["results"][0]["predictions"][0]["label"] == "red"

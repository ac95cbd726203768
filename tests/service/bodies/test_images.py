"""From a request to its images: what is not needed any more is let go of."""

from __future__ import annotations

import base64
import dataclasses
import json
import tracemalloc
from typing import Any

import pytest

from models.errors import InputError
from service.app import create_app
from service.front.wsgi import Call, call_application
from service.registry import Registry

IMAGE = bytes(12_000_000)
HEADERS = [(b"content-type", b"application/json")]


def request(body: bytes) -> Call:
    """A request as the front hands it on."""
    own = ("127.0.0.1", 80)
    return Call("POST", "/v1/classify", HEADERS, body, "1.1", own, own, "http", "id")


def test_only_decoded_bytes_are_left_of_a_body_of_json(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.heed(dataclasses.replace(registry.config, max_request_mb=64))
    app = create_app(registry=registry)
    held: list[int] = []

    def decode(uploads: Any, *_: object) -> None:
        assert [upload.data for upload in uploads] == [IMAGE]
        held.append(tracemalloc.get_traced_memory()[0])
        raise InputError("seen")

    monkeypatch.setattr(registry.decoder, "decode", decode)
    tracemalloc.start()
    try:
        call = request(json.dumps({"images": [base64.b64encode(IMAGE).decode()]}).encode())
        before = tracemalloc.get_traced_memory()[0]
        assert before > 16_000_000  # the body
        answer = call_application(app, call)
    finally:
        tracemalloc.stop()
    assert (answer.status, b"seen" in answer.body) == (400, True)
    assert held[0] < 1.2 * len(IMAGE)
    assert registry.bodies.memory.taken == 0

"""Every image and every body that an enemy might send, through every route of ours that takes images."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.openapi.routes import JSON
from service.registry import Registry
from tests.fixtures import plain, png_bomb
from tests.hostile import READABLE, REFUSED

ROUTES = ("/v1/classify", "/v1/features", "/v1/explain", "/v1/explain?format=png")
MOST = 1 << 20
FORM = "multipart/form-data; boundary=xyz"
PART = (
    b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    + plain("red")
    + b"\r\n"
)
SENT = base64.b64encode(plain("red")).decode()


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    config = ServiceConfig(
        ("builtin",), runtime=RuntimeConfig("cpu", threads=1), max_request_mb=1, max_images=4, measure_s=0.0
    )
    registry = Registry(config)
    registry.load()
    yield registry
    assert registry.bodies.memory.taken == 0
    registry.close()


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry=registry).test_client()


def forms_of(data: bytes) -> dict[str, dict[str, Any]]:
    """The ways to send an image."""
    part = PART.replace(plain("red"), data)
    return {
        "bytes": {"data": data, "content_type": "application/octet-stream"},
        "form": {"data": part + b"--xyz--\r\n", "content_type": FORM},
        "base64": {"json": {"images": [base64.b64encode(data).decode()]}},
        "packed": {
            "data": gzip.compress(data), "content_type": "image/png", "headers": {"Content-Encoding": "gzip"}
        },
    }  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_422(client: FlaskClient, route: str, name: str) -> None:
    for form, request in forms_of(REFUSED[name][0]()).items():
        response = client.post(route, **request)
        if form in ("bytes", "packed") and name == "empty.jpg":
            assert (response.status_code, "no body" in response.text) == (400, True)
            continue
        assert (response.status_code, response.mimetype) == (422, JSON), form
        assert response.get_json()["error"]["type"] == "ImageError"
        assert "Traceback" not in response.text


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", READABLE)
def test_what_is_one_is_answered(client: FlaskClient, route: str, name: str) -> None:
    assert client.post(route, **forms_of(READABLE[name][0]())["packed"]).status_code == 200


# name -> (request, status)
BODIES: dict[str, tuple[Callable[[], dict[str, Any]], int]] = {
    "nothing": (dict, 400),
    "no json": (lambda: {"data": b"{", "content_type": JSON}, 400),
    "another json": (lambda: {"json": {"image": SENT}}, 400),
    "no images": (lambda: {"json": {"images": []}}, 400),
    "deep": (lambda: {"data": b'{"images":' + b"[" * 90_000, "content_type": JSON}, 400),
    "wide": (lambda: {"data": b'{"images":[' + b"0," * 400_000 + b"0]}", "content_type": JSON}, 400),
    "many images": (lambda: {"json": {"images": [SENT] * 5}}, 400),
    "a huge number": (lambda: {"data": b'{"images":[' + b"9" * 900_000 + b"]}", "content_type": JSON}, 400),
    "twice": (lambda: {"data": b'{"images":[],"images":[""]}', "content_type": JSON}, 400),
    "an address": (lambda: {"json": {"images": [{"url": "http://169.254.169.254/"}]}}, 400),
    "no boundary": (lambda: {"data": PART, "content_type": "multipart/form-data"}, 400),
    "another boundary": (lambda: {"data": PART + b"--xyz--", "content_type": FORM.replace("xyz", "abc")}, 400),
    "a form without end": (lambda: {"data": PART, "content_type": FORM}, 400),
    "many parts": (lambda: {"data": PART * 5 + b"--xyz--", "content_type": FORM}, 400),
    "tiny parts": (lambda: {"data": b"--xyz\r\n\r\n\r\n" * 90_000, "content_type": FORM}, 400),
    "a field": (lambda: {"data": PART.replace(b'; filename="a.png"', b"") + b"--xyz--", "content_type": FORM}, 400),
    "text": (lambda: {"data": b"x", "content_type": "text/plain"}, 415),
    "no type": (lambda: {"data": b"x", "content_type": "nonsense"}, 415),
    "brotli": (lambda: {"data": b"x", "content_type": "image/png", "headers": {"Content-Encoding": "br"}}, 415),
    "packed twice": (
        lambda: {"data": b"x", "content_type": "image/png", "headers": {"Content-Encoding": "gzip, gzip"}}, 415
    ),
    "no gzip": (lambda: {"data": b"x", "content_type": "image/png", "headers": {"Content-Encoding": "gzip"}}, 400),
    "a bomb": (
        lambda: {
            "data": gzip.compress(bytes(50 * MOST)), "content_type": JSON, "headers": {"Content-Encoding": "gzip"}
        }, 413
    ),
    "large": (lambda: {"data": bytes(MOST + 1), "content_type": "image/png"}, 413),
    "too many pixels": (lambda: {"data": png_bomb(8000), "content_type": "image/png"}, 422),
    "too many pixels together": (
        lambda: {"json": {"images": [base64.b64encode(png_bomb(7070)).decode()] * 4 + [SENT]}}, 400
    ),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", BODIES)
def test_bodies(client: FlaskClient, route: str, name: str) -> None:
    make, status = BODIES[name]
    response = client.post(route, **make())
    assert (response.status_code, response.mimetype) == (status, JSON), response.text[:300]
    error = json.loads(response.text)["error"]
    assert set(error) >= {"type", "message"}
    assert 10 < len(error["message"]) < 1000
    assert "Traceback" not in response.text
    assert client.post(route, data=plain("red"), content_type="image/png").status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("model=gone", 404),
        ("model=", 404),
        ("version=2", 404),
        ("version=0", 400),
        ("version=1.5", 400),
        ("label=gone", 404),
        ("version=1&label=stable", 400),
        ("version=1&version=1", 400),
        ("timeout_ms=0", 400),
        ("timeout_ms=30001", 400),
        ("nonsense=1", 400),
        ("%ff=1", 400),
        ("model=%00", 404),
        ("model=" + "a" * 5000, 404),
    ],
)
def test_queries(client: FlaskClient, route: str, query: str, status: int) -> None:
    response = client.post(
        f"{route}{'&' if '?' in route else '?'}{query}", data=plain("red"), content_type="image/png"
    )
    assert (response.status_code, response.mimetype) == (status, JSON)
    assert len(response.get_json()["error"]["message"]) < 6000

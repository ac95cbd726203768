"""Requests that are answered without Flask's machinery: the same answers as with it, to the byte."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from service.app import create_app
from service.config import ServiceConfig
from service.direct import DIRECT
from service.front.wsgi import Answer, Call, call_application
from service.observing import METRICS
from service.registry import Registry
from service.safety import Guard
from service.steps import finish
from service.tokens import Tokens, new_token
from tests.fixtures import plain

TOKEN, LINE = new_token(["infer"])
PHOTO = plain("blue")
TEXT = base64.b64encode(PHOTO).decode()


@pytest.fixture(params=[(), ("https://shop.example",)], ids=["without pages", "with pages"])
def registry(config: ServiceConfig, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """Its models; pages of another origin may or may not read what it answers, which is another way to it."""
    registry = Registry(replace(config, cors_origins=request.param))
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def app(registry: Registry) -> Flask:
    return create_app(registry=registry, guard=Guard(Tokens([LINE])))


def call(target: str, body: bytes, method: str = "POST", **headers: str) -> Call:
    known = {"host": "test", "authorization": f"Bearer {TOKEN}", **headers}
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in known.items()]
    return Call(method, target, lines, body, "1.1", ("127.0.0.1", 1), ("127.0.0.1", 2), "http", "the-id")


def directly(app: Flask, one: Call) -> Answer | None:
    steps = app.extensions[DIRECT].steps(one)
    return None if steps is None else finish(steps)


def form(*files: bytes) -> bytes:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="%d.png"\r\n\r\n%b\r\n' % (i, file)
        for i, file in enumerate(files)
    ]
    return b"".join([*parts, b"--x--\r\n"])


def infer(**changes: Any) -> bytes:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    return json.dumps({"id": "7", "inputs": [{**tensor, **changes}]}).encode()


FORM = "multipart/form-data; boundary=x"
CLASSIFY: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "a photo": ("/v1/classify", PHOTO, {"content_type": "image/png"}, 200),
    "a quoted path": ("/v1/%63lassify?top_k=1", PHOTO, {}, 200),
    "a form with one bad file": ("/v1/classify", form(PHOTO, b"no image"), {"content_type": FORM}, 200),
    "nothing but bad files": ("/v1/classify", form(b"no image"), {"content_type": FORM}, 422),
    "JSON": (
        "/v1/classify",
        json.dumps({"images": [TEXT]}).encode(),
        {"content_type": "application/json"},
        200,
    ),
    "packed": ("/v1/classify", gzip.compress(PHOTO), {"content_encoding": "gzip"}, 200),
    "packed in vain": ("/v1/classify", PHOTO, {"content_encoding": "gzip"}, 400),
    "an unknown coding": ("/v1/classify", PHOTO, {"content_encoding": "br"}, 415),
    "a type with parameters": ("/v1/classify", PHOTO, {"content_type": "Image/PNG; a=b"}, 200),
    "an unknown parameter": ("/v1/classify?tpo_k=1", PHOTO, {}, 400),
    "another model": ("/v1/classify?model=other&version=1", PHOTO, {}, 200),
    "no such model": ("/v1/classify?model=nobody", PHOTO, {}, 404),
    "too much time": ("/v1/classify?timeout_ms=99999999", PHOTO, {}, 400),
    "no body": ("/v1/classify", b"", {}, 400),
    "too large": ("/v1/classify", bytes(2 << 20), {}, 413),
    "a content type that holds no images": ("/v1/classify", PHOTO, {"content_type": "text/css"}, 415),
    "no token": ("/v1/classify", PHOTO, {"authorization": ""}, 401),
    "a wrong token": ("/v1/classify", PHOTO, {"authorization": "Bearer x"}, 401),
    "a page that may read it": ("/v1/classify", PHOTO, {"origin": "https://shop.example"}, 200),
    "a page that may read why not": ("/v1/classify?x=", PHOTO, {"origin": "https://shop.example"}, 400),
    "a page that may not": ("/v1/classify", PHOTO, {"origin": "https://other.example"}, 200),
    "tensors": ("/v2/models/tiny/infer", infer(), {"content_type": "application/json"}, 200),
    "tensors of a version": ("/v2/models/tiny/versions/1/infer", infer(), {}, 200),
    "tensors that are none": ("/v2/models/tiny/infer", infer(shape=[2]), {}, 400),
    "a version that is none": ("/v2/models/tiny/versions/x/infer", infer(), {}, 400),
    "tensors of nobody": ("/v2/models/nobody/infer", infer(), {}, 404),
}


@pytest.mark.parametrize("name", CLASSIFY)
def test_answer_is_that_of_the_application(app: Flask, registry: Registry, name: str) -> None:
    target, body, headers, status = CLASSIFY[name]
    target = target.replace("/tiny/", f"/{registry.default}/")
    direct = directly(app, call(target, body, **headers))
    flask = call_application(app, call(target, body, **headers))
    assert direct is not None
    assert (direct.status, flask.status) == (status, status)
    assert direct.body == flask.body
    assert sorted(direct.headers) == sorted(flask.headers)


def test_both_count_and_log_the_same(app: Flask) -> None:
    metrics = app.extensions[METRICS]
    notes, counted = [], []
    for way in (directly, call_application):
        for target in ("/v1/classify", "/v1/classify?x="):
            one = call(target, PHOTO)
            way(app, one)
            notes.append(dict(one.notes))
        page = metrics.page("")[0].decode()
        counted.append(
            [line for line in page.splitlines() if line.startswith(("graft_requests_", "graft_images"))]
        )
    assert notes[:2] == notes[2:]
    assert notes[0]["route"] == "/v1/classify"
    assert notes[1]["error"] == "InputError"
    assert [line.replace(" 1.0", " 2.0") for line in counted[0] if "created" not in line] == [
        line for line in counted[1] if "created" not in line
    ]


def test_body_is_let_go_of(app: Flask) -> None:
    one = call("/v1/classify", PHOTO)
    assert directly(app, one) is not None
    assert one.body == b""


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/classify"),
        ("HEAD", "/v1/classify"),
        ("OPTIONS", "/v1/classify"),
        ("POST", "/v1/features"),
        ("POST", "/v1//classify"),
        ("POST", "/nowhere"),
        ("GET", "/v1/models"),
    ],
)
def test_what_is_no_step_by_step_work_is_left_to_the_application(
    app: Flask, method: str, target: str
) -> None:
    assert directly(app, call(target, PHOTO, method)) is None


def test_fault_of_the_service_is_told_without_its_inside(
    app: Flask, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise ValueError("a secret")

    monkeypatch.setattr(registry.decoder, "decode", broken)
    direct, flask = (
        directly(app, call("/v1/classify", PHOTO)),
        call_application(app, call("/v1/classify", PHOTO)),
    )
    assert direct is not None
    assert (direct.status, direct.body) == (flask.status, flask.body)
    assert direct.status == 500
    assert b"secret" not in direct.body
    assert [record.request_id for record in caplog.records] == ["the-id", "the-id"]  # type: ignore[attr-defined]

"""Which pages may ask the service from a browser: none, unless it was told so."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests.service.serving import serving

HERE, ELSEWHERE = "https://shop.example", "https://evil.example"


def sharing(config: ServiceConfig, *origins: str) -> FlaskClient:
    """A service that nobody needs to load models for."""
    return create_app(registry=Registry(dataclasses.replace(config, cors_origins=origins))).test_client()


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((HERE,), HERE, HERE),
        ((HERE,), ELSEWHERE, None),
        ((HERE,), None, None),
        (("*",), ELSEWHERE, "*"),
        ((), HERE, None),
    ],
)
def test_origin(
    config: ServiceConfig, origins: tuple[str, ...], origin: str | None, allowed: str | None
) -> None:
    headers = {"Origin": origin} if origin else {}
    response = sharing(config, *origins).get("/livez", headers=headers)
    assert response.headers.get("Access-Control-Allow-Origin") == allowed
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers.get("Vary") == ("Origin" if origins else None)


def test_errors_are_shared_too(config: ServiceConfig) -> None:
    response = sharing(config, HERE).get("/nothing", headers={"Origin": HERE})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (404, HERE)


def test_a_browser_that_asks_beforehand_hears_what_it_may_send(config: ServiceConfig) -> None:
    asks = {"Origin": HERE, "Access-Control-Request-Method": "POST"}
    headers = sharing(config, HERE).options("/v1/classify", headers=asks).headers
    assert headers["Access-Control-Allow-Origin"] == HERE
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Content-Encoding" in headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Methods" not in sharing(config, HERE).options("/v1/classify").headers


def test_refusals_of_the_front_may_be_read_too(config: ServiceConfig) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nOrigin: %b\r\n\r\n"
    with serving(dataclasses.replace(config, cors_origins=(HERE,))) as site:
        for origin, allowed in ((HERE, True), ("https://elsewhere.example", False)):
            with socket.create_connection((site.server.host, site.server.port), timeout=60) as client:
                client.sendall(request % origin.encode())
                with client.makefile("rb") as lines:
                    head = b"".join(iter(lines.readline, b"\r\n")).lower()
            assert head.startswith(b"http/1.1 417")
            assert (b"\r\naccess-control-allow-origin: " + HERE.encode() in head) is allowed
            assert b"\r\nvary: origin" in head


def test_a_browser_that_asks_beforehand_needs_no_token(config: ServiceConfig) -> None:
    registry = Registry(dataclasses.replace(config, cors_origins=(HERE,)))
    guard = Guard(Tokens([new_token(["infer"])[1]]))
    client = create_app(registry=registry, guard=guard).test_client()
    asks = {"Origin": HERE, "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/classify", headers=asks).status_code == 200
    refused = client.post("/v1/classify", headers={"Origin": HERE})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, HERE)

"""Who may do what: every route is declared, tokens are asked for, and no secret is told."""

from __future__ import annotations

import dataclasses
import logging
import socket
import threading
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models.errors import InputError
from service.app import create_app
from service.front.limits import Limits
from service.registry import Registry
from service.safety import ACCESS, Guard, access_of, protect, unwelcome_in
from service.server import make_server
from service.tokens import Token, Tokens, new_token
from tests.fixtures import plain

INFER, INFER_LINE = new_token(["infer"], "infer")
ADMIN, ADMIN_LINE = new_token(["admin"], "admin")
BOTH, BOTH_LINE = new_token(["infer", "admin"], "both")


def client_with(registry: Registry, *tokens: Token) -> FlaskClient:
    return create_app(registry=registry, guard=Guard(Tokens(tokens))).test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(registry: Registry) -> FlaskClient:
    """A service with tokens of all kinds."""
    return client_with(registry, INFER_LINE, ADMIN_LINE, BOTH_LINE)


def test_every_route_says_who_may_call_it_and_means_it(registry: Registry) -> None:
    app = create_app(registry=registry, guard=Guard(Tokens([INFER_LINE, ADMIN_LINE, BOTH_LINE])))
    client, asked = app.test_client(), set()
    for rule in app.url_map.iter_rules():
        access = access_of(rule)
        asked.add(access)
        path = rule.rule.replace("<name>", "tiny").replace("<label>", "stable").replace("<version>", "1")
        path = path.replace("<task>", "image-classification").replace("<digest>/<file>", "x/y.js")
        assert "<" not in path
        for method in rule.methods or ():
            status = {
                name: client.open(path, method=method, headers=bearer(token) if token else {}).status_code
                for name, token in (
                    ("nobody", ""),
                    ("stranger", "graft_x"),
                    ("infer", INFER),
                    ("admin", ADMIN),
                )
            }
            if access == "open":
                assert not {401, 403} & set(status.values()), rule
            else:
                other = "admin" if access == "infer" else "infer"
                assert (status["nobody"], status["stranger"], status[other]) == (401, 401, 403), rule
                assert status[access] not in (401, 403), rule
    assert asked == {"open", "infer", "admin"}


def test_open_is_what_load_balancers_ask_and_admin_is_all_that_changes(registry: Registry) -> None:
    rules = list(create_app(registry=registry).url_map.iter_rules())
    assert {rule.rule for rule in rules if access_of(rule) == "open"} >= {"/livez", "/readyz"}
    for rule in rules:
        if {"PUT", "DELETE", "PATCH"} & (rule.methods or set()) or "/admin/" in rule.rule:
            assert access_of(rule) == "admin", rule


def test_a_group_that_nobody_has_declared_cannot_be_served() -> None:
    app = Flask("forgotten", static_folder=None)
    app.add_url_rule("/secret", "vault.secret", lambda: "secret")
    with pytest.raises(LookupError, match=r"/secret: who may call it\? Give its group 'vault' a row"):
        protect(app, Guard())
    assert "" not in ACCESS


def test_without_a_file_all_may_infer_and_none_may_administer(client: FlaskClient) -> None:
    assert client.post("/v1/classify", data=plain("red"), content_type="image/png").status_code == 200
    answer = client.get("/v1/admin/models", headers=bearer(ADMIN))
    assert (answer.status_code, answer.get_json()["error"]["type"]) == (403, "AccessError")
    assert (
        "administration is off. Start the service with --tokens FILE" in answer.get_json()["error"]["message"]
    )


def test_admin_tokens_alone_keep_nobody_from_inferring(registry: Registry) -> None:
    client = client_with(registry, ADMIN_LINE)
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/admin/models").status_code == 401
    assert client.get("/v1/admin/models", headers=bearer(ADMIN)).status_code == 200


def test_infer_tokens_alone_leave_administration_off(registry: Registry) -> None:
    client = client_with(registry, INFER_LINE)
    assert client.get("/v1/admin/models", headers=bearer(INFER)).status_code == 403
    assert client.get("/v1/models", headers=bearer(INFER)).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="graft"'),
        ("", 'Bearer realm="graft", error="invalid_token"'),
        ("Bearer", 'Bearer realm="graft", error="invalid_token"'),
        ("Bearer graft_wrong", 'Bearer realm="graft", error="invalid_token"'),
        (f"Basic {INFER}", 'Bearer realm="graft", error="invalid_token"'),
        (INFER, 'Bearer realm="graft", error="invalid_token"'),
        (f"Bearer {INFER},{INFER}", 'Bearer realm="graft", error="invalid_token"'),
        (f"Bearer {INFER_LINE.digest}", 'Bearer realm="graft", error="invalid_token"'),
    ],
)
def test_who_cannot_say_a_token_hears_how(
    guarded: FlaskClient, authorization: str | None, challenge: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = guarded.get("/v1/models", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, challenge)
    assert answer.get_json()["error"]["type"] == "TokenError"
    assert "Authorization: Bearer TOKEN" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER  {} "])
def test_the_scheme_is_taken_in_any_case(guarded: FlaskClient, form: str) -> None:
    assert guarded.get("/v1/models", headers={"Authorization": form.format(BOTH)}).status_code == 200


def test_a_token_for_something_else_is_told_for_what(guarded: FlaskClient) -> None:
    answer = guarded.get("/v1/admin/models", headers=bearer(INFER))
    assert answer.status_code == 403
    assert answer.get_json()["error"]["message"] == "the token is for infer; here admin is needed."


def test_nothing_at_an_address_needs_no_token(guarded: FlaskClient) -> None:
    assert guarded.get("/v1/nothing").status_code == 404
    assert guarded.get("/livez").status_code == 200


def test_no_body_is_read_for_a_stranger(guarded: FlaskClient) -> None:
    answer = guarded.post("/v1/classify?nonsense=1", data=b"x" * (2 << 20), content_type="image/png")
    assert answer.status_code == 401


def test_no_secret_is_told(guarded: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for path in ("/v1/admin/models", "/v1/models", "/v1/admin/models?token=1"):
            for token in (INFER, ADMIN, "graft_unknown"):
                answer = guarded.get(path, headers=bearer(token))
                assert token not in answer.text + str(answer.headers)
    assert not any(token in caplog.text for token in (INFER, ADMIN, "graft_unknown"))


def test_the_file_of_the_configuration_is_heeded(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{INFER_LINE}\n", encoding="utf-8")
    registry.config = dataclasses.replace(registry.config, tokens=str(file))
    client = create_app(registry=registry).test_client()
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers=bearer(INFER)).status_code == 200
    file.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="holds no token"):
        create_app(registry=registry)


def test_tokens_may_be_replaced(registry: Registry) -> None:
    guard = Guard(Tokens([INFER_LINE]))
    client = create_app(registry=registry, guard=guard).test_client()
    guard.tokens = Tokens([BOTH_LINE])
    assert client.get("/v1/models", headers=bearer(INFER)).status_code == 401
    assert client.get("/v1/models", headers=bearer(BOTH)).status_code == 200


class TestBeforeTheBody:
    """Who is refused by his token is told so before his body is read: strangers hold no memory."""

    @pytest.mark.parametrize(
        ("method", "path", "token", "expected"),
        [
            ("POST", "/v1/classify", None, True),
            ("POST", "/v1/classify", "Bearer graft_x", True),
            ("POST", "/v1/classify", f"Bearer {ADMIN}", True),
            ("POST", "/v1/classify", f"Bearer {INFER}", False),
            ("POST", "/v1/admin/models", f"Bearer {INFER}", True),
            ("OPTIONS", "/v1/classify", None, False),
            ("GET", "/readyz", None, False),
            ("POST", "/nothing", None, True),
            ("PUT", "/v1/classify", f"Bearer {INFER}", True),
            ("POST", "/livez", None, True),
            ("POST", "/v1/classify/%ff%00", None, True),
        ],
    )
    def test_of_tokens(
        self, registry: Registry, method: str, path: str, token: str | None, expected: bool
    ) -> None:
        app = create_app(registry=registry, guard=Guard(Tokens([INFER_LINE, ADMIN_LINE])))
        assert unwelcome_in(app)(method, path, token) is expected

    def test_without_tokens_all_may_infer(self, registry: Registry) -> None:
        assert not unwelcome_in(create_app(registry=registry))("POST", "/v1/classify", None)

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            (b"POST /v1/classify", b"401"),
            (b"POST /nothing", b"404"),
            (b"POST /livez", b"405"),
            (b"GET /livez", b"200"),
            (b"GET /docs", b"200"),
            (b"OPTIONS /v1/classify", b"401"),
        ],
    )
    @pytest.mark.parametrize("length", ["Content-Length: 500000", "Transfer-Encoding: chunked"])
    def test_a_stranger_is_answered_while_he_sends(
        self, registry: Registry, line: bytes, status: bytes, length: str
    ) -> None:
        app = create_app(registry=registry, guard=Guard(Tokens([INFER_LINE])))
        server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
        running = threading.Thread(target=server.run)
        running.start()
        head = line + b" HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n%b\r\n\r\n" % length.encode()
        head += b"7a120\r\n" if "chunked" in length else b""
        with socket.create_connection((server.host, server.port), timeout=120) as client:
            client.sendall(head + b"x" * 1000)  # and not another byte
            answer = client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert server.gate.budget.held == 0
        server.stop()
        running.join()

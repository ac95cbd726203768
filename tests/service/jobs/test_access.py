"""Who may teach: whoever works at the machine where there are no tokens, and nobody through a browser's other pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.jobs.teaching import Teaching
from service.neighbours import is_loopback
from service.registry import Registry
from service.safety import Guard, access_of, guard_of
from service.tokens import Tokens, new_token
from tests.service.jobs.conftest import workspace_config

ADMIN, ADMIN_LINE = new_token(["admin"], "admin")
INFER, INFER_LINE = new_token(["infer"], "infer")
BOTH, BOTH_LINE = new_token(["infer", "admin"], "both")
MADE = {"json": {"name": "x"}}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1:8000"},
        {"Host": "[::1]:8000"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_programs_here_and_the_own_page_may(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/datasets", headers=headers, **MADE).status_code == 201


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Origin": "https://evil.example"}, "a page of https://evil.example sent it"),
        ({"Origin": "null"}, "a page of null sent it"),
        ({"Origin": "http://localhost:3000"}, "a page of http://localhost:3000 sent it"),
        ({"Origin": "https://localhost"}, "a page of https://localhost sent it"),
        ({"Sec-Fetch-Site": "cross-site"}, "a page of another origin sent it (cross-site)"),
        ({"Sec-Fetch-Site": "same-site"}, "a page of another origin sent it (same-site)"),
        ({"Host": "evil.example"}, "it was sent to 'evil.example'"),
        (
            {"Host": "localhost.evil.example:8000", "Origin": "http://localhost.evil.example:8000"},
            "it was sent to",
        ),
        ({"Host": "192.168.1.7:8000"}, "it was sent to '192.168.1.7:8000'"),
        ({"Host": ""}, "it was sent to ''"),
        ({"X-Forwarded-For": "10.0.0.1"}, "a proxy forwarded it (X-Forwarded-For)"),
        ({"Via": "1.1 proxy"}, "a proxy forwarded it (Via)"),
    ],
)
def test_pages_and_names_of_others_may_not(client: FlaskClient, headers: dict[str, str], why: str) -> None:
    for method, path in (("POST", "/v1/datasets"), ("GET", "/v1/datasets"), ("GET", "/v1/admin/models")):
        answer = client.open(path, method=method, headers=headers, **(MADE if method == "POST" else {}))
        assert (answer.status_code, answer.get_json()["error"]["type"]) == (403, "AccessError")
        assert why in answer.get_json()["error"]["message"]
    told = client.get("/v1/workspace", headers=headers).get_json()
    assert (told["teaching"], told["abilities"]) == (False, None)
    assert client.get("/v1/datasets").get_json() == {"datasets": []}


@pytest.fixture
def guarded(teaching: Teaching) -> Iterator[FlaskClient]:
    guard = Guard(Tokens([ADMIN_LINE, INFER_LINE, BOTH_LINE]), teaches_here=True)
    return create_app(registry=teaching.registry, guard=guard, teaching=teaching).test_client()


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("graft_wrong", 401), (INFER, 403), (ADMIN, 200)])
def test_with_tokens_only_an_admin_may_from_wherever(
    guarded: FlaskClient, token: str | None, status: int
) -> None:
    headers = {"Host": "gpu.example", "X-Forwarded-For": "10.0.0.1"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    assert guarded.get("/v1/jobs", headers=headers).status_code == status


@pytest.mark.parametrize(("token", "teaches"), [(INFER, False), (BOTH, True)])
def test_the_workspace_says_whether_it_teaches_whoever_asks(
    guarded: FlaskClient, token: str, teaches: bool
) -> None:
    told = guarded.get("/v1/workspace", headers={"Authorization": f"Bearer {token}"}).get_json()
    assert (told["teaching"], told["abilities"] is not None) == (teaches, teaches)


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("graft_wrong", 401), (ADMIN, 403)])
def test_the_workspace_asks_who_may_infer(guarded: FlaskClient, token: str | None, status: int) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    assert guarded.get("/v1/workspace", headers=headers).status_code == status


def test_every_route_of_it_asks_who_is_there(guarded: FlaskClient) -> None:
    groups, page = set(), (Path(__file__).parents[3] / "docs" / "jobs.md").read_text(encoding="utf-8")
    for rule in guarded.application.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] in ("datasets", "jobs"):
            groups.add(rule.endpoint.partition(".")[0])
            assert access_of(rule) == "admin"
            path = rule.rule
            for name in ("dataset", "class", "image", "job", "file", "model"):
                path = path.replace(f"<{name}>", "x").replace("<version>", "1")
            address = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: name[1].upper(), rule.rule)
            for method in (rule.methods or set()) - {"OPTIONS"}:
                assert method == "HEAD" or f"`{method} {address}`" in page
                assert guarded.open(path, method=method).status_code == 401, rule
    assert groups == {"datasets", "jobs"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "gpu.example"])
def test_on_other_addresses_it_needs_a_token(tiny_path: Path, tmp_path: Path, host: str) -> None:
    config = workspace_config(tiny_path, tmp_path, host=host)
    assert not guard_of(config).needs_no_token


def test_without_a_workspace_it_is_off_and_says_how_to_have_it(tiny_path: Path) -> None:
    registry = Registry(ServiceConfig(models=(str(tiny_path),), measure_s=0.0))
    registry.load()
    client = create_app(registry=registry).test_client()
    told = client.get("/v1/workspace").get_json()
    assert told["teaching"] is False
    assert "graft teach" in told["why"]
    assert client.get("/v1/datasets").status_code == 404
    assert client.get("/v1/admin/models").status_code == 403
    registry.close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_addresses_of_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback

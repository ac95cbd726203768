"""What holds for every route: health, models, errors as JSON."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from models.errors import BusyError, GraftError, InputError
from service.app import create_app
from service.config import ServiceConfig
from service.errors import STATUS
from service.registry import Registry
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests.fixtures import plain


def tree(kind: type[GraftError]) -> set[type[GraftError]]:
    return {kind}.union(*(tree(child) for child in kind.__subclasses__()))


def test_every_error_has_a_status() -> None:
    assert set(STATUS) == {kind for kind in tree(GraftError) if kind.__module__ == "models.errors"}


def test_alive_at_once_and_ready_only_when_all_models_are_warm(config: ServiceConfig) -> None:
    registry = Registry(config)
    client = create_app(registry=registry).test_client()
    assert client.get("/livez").status_code == 200
    waiting = client.get("/readyz")
    assert (waiting.status_code, waiting.get_json()) == (
        503,
        {"status": "loading", "loading": ["tiny", "other"]},
    )
    early = client.post("/v1/classify", data=b"x", content_type="image/png")
    assert (early.status_code, early.headers["Retry-After"]) == (503, "2")
    assert "still being loaded" in early.get_json()["error"]["message"]
    registry.load()
    assert (client.get("/readyz").status_code, client.get("/readyz").get_json()["status"]) == (200, "ready")


def test_app_loads_its_models_where_nobody_else_does(config: ServiceConfig) -> None:
    assert create_app(config).test_client().get("/readyz").status_code == 200


def test_pages_about_http_and_protocols_name_every_route(registry: Registry) -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = "".join(
        (docs / name).read_text(encoding="utf-8") for name in ("http.md", "protocols.md", "jobs.md")
    )
    for rule in create_app(registry=registry).url_map.iter_rules():
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: name[1].upper(), rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert f"`{method} {address}`" in page


def test_models_are_listed(client: FlaskClient) -> None:
    body = client.get("/v1/models").get_json()
    assert body["default"] == "tiny"
    assert body["models"][0] == {
        "name": "tiny",
        "version": 1,
        "state": "ready",
        "labels": {},
        "task": "classification",
        "description": "mean colour, for tests",
        "input_size": [16, 16],
        "classes": 3,
        "cuts": [{"name": "pool", "shape": [3]}, {"name": "logits", "shape": [3]}],
        "device": "cpu",
        "plan": "one run at a time, 1 thread each, up to 8 images, not measured",
        "proof": "none",
        "proof_note": "the file carries no stored inputs, so nobody knows whether it computes the same here",
    }
    assert [model["name"] for model in body["models"]] == ["tiny", "other"]


def test_one_model_tells_its_whole_card(client: FlaskClient) -> None:
    body = client.get("/v1/models/other").get_json()
    assert body["name"] == "other"
    assert body["card"]["labels"][2] == {"id": "c2", "name": "blue"}
    assert client.get("/v1/models/gone").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v1/classify", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/livez", 405),
        ("GET", "/v1/models/" + "x" * 10_000, 404),
        ("GET", "/v1/models/%00", 404),
        ("GET", "/v1/models?verbose=1", 400),
        ("GET", "/v1//models", 404),
        ("GET", "//v1/models", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
        ("HEAD", "/v1/classify", 405),
        ("TRACE", "/v1/models", 405),
        ("NOTHING", "/v1/models", 405),
    ],
)
def test_errors_are_json(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.mimetype) == (status, "application/json")
    if method != "HEAD":
        error = response.get_json()["error"]
        # Each protocol has a form of its own; Flask's client takes what stands behind `//` for a host.
        of_others = path.startswith(("/v2", "//v1/models"))
        assert isinstance(error, str) if of_others else set(error) == {"type", "message"}
    if status == 405:
        assert response.headers["Allow"]


def test_fault_of_ours_is_500_and_tells_nothing_of_the_inside(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(registry, "get", fail)
    response = client.post("/v1/classify", data=b"x", content_type="image/png")
    assert (response.status_code, response.get_json()["error"]["type"]) == (500, "InternalError")
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_numbers_that_are_none_are_500(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = registry.get().model
    monkeypatch.setattr(model, "run", lambda batch, outputs: [np.full((1, 3), np.nan, np.float32)])
    response = client.post("/v1/classify", data=plain("red"), content_type="image/png")
    assert (response.status_code, response.get_json()["error"]["type"]) == (500, "NumericsError")


def test_retry_after_is_whole_seconds(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError("busy", 2.2)

    monkeypatch.setattr(registry, "get", busy)
    assert client.get("/v1/models/tiny").headers["Retry-After"] == "3"


def rules(client: FlaskClient) -> dict[str, set[str]]:
    """Paths of the application and their methods, with a name in place of each parameter."""
    methods: dict[str, set[str]] = {}
    for rule in client.application.url_map.iter_rules():
        methods.setdefault(re.sub("<[^>]+>", "tiny", rule.rule), set()).update(rule.methods or ())
    return methods


def test_every_route_knows_options_and_head(registry: Registry) -> None:
    token, line = new_token(["admin"])
    client = create_app(registry=registry, guard=Guard(Tokens([line]))).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    for path, methods in rules(client).items():
        options = client.options(path)
        assert (options.status_code, options.data) == (200, b"")
        assert set(options.headers["Allow"].split(", ")) == methods
        if "GET" in methods:
            got, head = client.get(path), client.head(path)
            assert (head.status_code, head.data) == (got.status_code, b"")
            if path != "/metrics":  # which tells of the first request in the second
                assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_every_answer_has_headers_for_browsers(client: FlaskClient) -> None:
    for path in (*rules(client), "/nothing"):
        for method in ("GET", "POST", "OPTIONS"):
            headers = client.open(path, method=method).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            # A page asks whether it has changed; of what is told about a model nothing is kept.
            assert headers["Cache-Control"] == ("no-cache" if (method, path) == ("GET", "/") else "no-store")
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "Access-Control-Allow-Origin" not in headers


class TestModels:
    def test_one_that_is_loaded_or_could_not_be_tells_its_state(self, config: ServiceConfig) -> None:
        registry = Registry(config)
        registry.states["other", 1] = ("failed", "other.onnx: not an ONNX file.")
        client = create_app(registry=registry).test_client()
        failed = {"version": 1, "state": "failed", "reason": "other.onnx: not an ONNX file."}
        assert client.get("/v1/models").get_json()["models"] == [
            {"name": "other", **failed},
            {"name": "tiny", "version": 1, "state": "loading"},
        ]
        body = client.get("/v1/models/other").get_json()
        assert body.items() >= {"name": "other", **failed, "versions": [failed]}.items()
        assert "card" not in body
        assert client.get("/v1/models/other?version=2").status_code == 404
        assert client.get("/v1/models/other?label=stable").status_code == 404

    def test_labels_and_versions(self, client: FlaskClient, registry: Registry) -> None:
        registry.move_label("tiny", "stable", 1)
        body = client.get("/v1/models/tiny?label=stable").get_json()
        assert (body["state"], body["labels"]) == ("ready", {"stable": 1})
        assert body["versions"] == [{"version": 1, "state": "ready"}]

    def test_an_alias_of_the_zoo_is_the_model(self, config: ServiceConfig) -> None:
        client = create_app(dataclasses.replace(config, models=("builtin",))).test_client()
        assert client.get("/v1/models/builtin").get_json()["versions"] == [{"version": 1, "state": "ready"}]


def test_tracing_without_its_library_is_explained(
    registry: Registry, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "service.tracing", None)
    registry.config = dataclasses.replace(config, tracing=True)
    with pytest.raises(InputError, match=r"tracing needs OpenTelemetry.*pip install '.\[tracing\]'"):
        create_app(registry=registry)

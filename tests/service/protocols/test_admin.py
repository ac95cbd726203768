"""Administration: versions are loaded from the repository and unloaded, labels move to what is warm."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from service.safety import Guard
from service.server import _works
from service.sources import Source
from service.tokens import Tokens, new_token
from tests.fixtures import plain

TOKEN, LINE = new_token(["admin"])


@pytest.fixture
def registry(config: ServiceConfig, tmp_path: Path, tiny_path: Path) -> Iterator[Registry]:
    """One model is served; a repository has two versions of another, and a file that is none."""
    for version in "12":
        (tmp_path / "cats" / version).mkdir(parents=True)
        shutil.copy(tiny_path, tmp_path / "cats" / version / "model.onnx")
    (tmp_path / "bad.onnx").write_text("no model")
    registry = Registry(dataclasses.replace(config, models=(str(tiny_path),), repository=(str(tmp_path),)))
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    client = create_app(registry=registry, guard=Guard(Tokens([LINE]))).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


def load(client: FlaskClient, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post("/v1/admin/models", json=body)
    return answer.status_code, answer.get_json()


def error(answer: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["message"]


def test_a_version_is_loaded_labelled_and_unloaded(client: FlaskClient) -> None:
    for version in (1, 2):
        status, body = load(client, path=f"cats/{version}/model.onnx")
        assert (status, body["name"], body["version"]) == (200, "cats", version)
    moved = client.put("/v1/admin/models/cats/labels/stable", json={"version": 1})
    cats = moved.get_json()["models"][1]
    assert (cats["name"], cats["labels"], cats["answers"]) == ("cats", {"stable": 1}, 1)
    assert [(one["version"], one["state"]) for one in cats["versions"]] == [(1, "ready"), (2, "ready")]
    asked = {"data": plain("red"), "content_type": "image/png"}
    assert client.post("/v1/classify?model=cats", **asked).status_code == 200

    held = client.delete("/v1/admin/models/cats?version=1")
    assert error((held.status_code, held.get_json())) == (
        400,
        "version 1 of cats is stable. Move the label first.",
    )
    assert client.delete("/v1/admin/models/cats/labels/stable").status_code == 200
    assert client.delete("/v1/admin/models/cats?version=1").status_code == 200
    assert client.delete("/v1/admin/models/cats").status_code == 200
    assert [model["name"] for model in client.get("/v1/admin/models").get_json()["models"]] == ["tiny"]
    assert client.post("/v1/classify?model=cats", **asked).status_code == 404


def test_what_an_administrator_does_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        load(client, path="cats/1/model.onnx")
        client.put("/v1/admin/models/cats/labels/canary", json={"version": 1})
        client.delete("/v1/admin/models/cats/labels/canary")
        client.delete("/v1/admin/models/cats", environ_overrides={"graft.request_id": "my-id"})
        client.delete("/v1/admin/models/cats")
    facts = [vars(record) for record in caplog.records if hasattr(record, "event")]
    assert [(one["event"], one["model"], one.get("version")) for one in facts] == [
        ("loaded", "cats", 1),
        ("labelled", "cats", 1),
        ("labelled", "cats", None),
        ("retired", "cats", None),
    ]
    assert facts[-1]["request_id"] == "my-id"
    assert facts[-1]["message"] == "cats is not served any more, as an administrator asked"


def test_name_and_version_may_be_chosen_and_the_next_one_is_free(client: FlaskClient) -> None:
    assert load(client, path="cats/1/model.onnx", name="dogs", version=7)[1]["version"] == 7
    status, body = load(client, path="cats/1/model.onnx", name="tiny")
    assert (status, body["name"], body["version"]) == (200, "tiny", 1)


def test_a_file_without_a_version_is_the_next_one(
    client: FlaskClient, tmp_path: Path, tiny_path: Path
) -> None:
    shutil.copy(tiny_path, tmp_path / "tiny.onnx")
    assert load(client, path="tiny.onnx")[1]["version"] == 2
    assert load(client, path="tiny.onnx")[1]["version"] == 3


def test_a_label_does_not_move_to_what_is_not_warm(client: FlaskClient) -> None:
    answer = client.put("/v1/admin/models/tiny/labels/stable", json={"version": 2})
    assert error((answer.status_code, answer.get_json())) == (
        404,
        "model tiny has no version 2 here; there is 1.",
    )
    answer = client.delete("/v1/admin/models/tiny/labels/stable")
    assert (answer.status_code, "has no label 'stable'" in answer.get_json()["error"]["message"]) == (
        404,
        True,
    )


def test_a_file_that_is_no_model_changes_nothing(client: FlaskClient) -> None:
    status, message = error(load(client, path="bad.onnx", name="tiny", version=1))
    assert (status, "bad.onnx" in message) == (400, True)
    assert load(client, path="bad.onnx")[0] == 400
    models = {
        model["name"]: model["versions"] for model in client.get("/v1/admin/models").get_json()["models"]
    }
    assert (models["tiny"][0]["state"], models["bad"][0]["state"]) == ("ready", "failed")
    assert "bad.onnx" in models["bad"][0]["reason"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is no JSON"),
        (b"[" * 60_000, "the body is no JSON"),
        (b"x" * 70_000, "the body has 70,000 bytes; expected a JSON object with path"),
        (b'["cats/1/model.onnx"]', "the JSON has another form; expected a JSON object with path, and perhaps name, "),
        (b"{}", "the JSON has another form"),
        (b'{"path": "cats/1/model.onnx", "url": "x"}', "the JSON has another form"),
        (b'{"path": 3}', "path is no text"),
        (b'{"path": "../tiny.onnx"}', "is no .onnx file in the repository"),
        (b'{"path": "builtin"}', "is no .onnx file in the repository"),
        (b'{"path": "cats/1/model.onnx", "name": "a:b"}', "the name is 'a:b'; expected text without colons"),
        (b'{"path": "cats/1/model.onnx", "name": "a/b"}', "the name is 'a/b'"),
        (b'{"path": "cats/1/model.onnx", "name": ""}', "the name is ''"),
        (b'{"path": "cats/1/model.onnx", "name": "\\ud800"}', "the name is '\\ud800'"),
        (b'{"path": "cats/1/model.onnx", "version": 0}', "the version is 0; expected a whole number of at least 1"),
        (b'{"path": "cats/1/model.onnx", "version": true}', "the version is True"),
        (b'{"path": "cats/1/model.onnx", "version": "2"}', "the version is '2'"),
        (b'{"path": "cats/1/model.onnx", "version": 1e999}', "the version is inf"),
    ],
)  # fmt: skip
def test_other_bodies_are_refused(client: FlaskClient, body: bytes, message: str) -> None:
    answer = client.post("/v1/admin/models", data=body)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]["message"]


def test_one_model_is_loaded_at_a_time(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, opened = threading.Event(), threading.Event(), registry.open

    def slow(source: Source) -> Any:
        begun.set()
        go_on.wait()
        return opened(source)

    monkeypatch.setattr(registry, "open", slow)
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(load(client, path="cats/1/model.onnx")[0]))
    thread.start()
    begun.wait()
    second = client.post("/v1/admin/models", json={"path": "cats/2/model.onnx"})
    go_on.set()
    thread.join()
    assert (first, second.status_code, second.headers["Retry-After"]) == ([200], 503, "2")


def test_administration_takes_no_workers() -> None:
    assert _works("POST", "/v1/classify")
    assert not _works("POST", "/v1/admin/models")
    assert not _works("PUT", "/v1/admin/models/cats/labels/stable")

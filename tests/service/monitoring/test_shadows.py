"""Which models have a shadow: what is asked for, what is refused, and that nobody else notices them."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from models.errors import InputError, UnknownModelError
from service.app import create_app
from service.config import ServiceConfig
from service.monitoring.shadows import ShadowRule, rules_of
from service.registry import Registry
from service.safety import Guard
from service.sources import Source
from service.tokens import Tokens
from tests.fixtures import plain
from tests.service.monitoring.shadowing import WAIT_S, other


@pytest.mark.parametrize(("share", "threshold", "name"), [
    (0.0, 0.05, "share"), (1.5, 0.05, "share"), (math.nan, 0.05, "share"), (math.inf, 0.05, "share"),
    (0.1, 0.0, "threshold"), (0.1, 1.0, "threshold"), (0.1, math.nan, "threshold"), (-1.0, 0.05, "share"),
])  # fmt: skip
def test_shares_that_are_none_are_refused(share: float, threshold: float, name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is "):
        ShadowRule("a", "b", None, share, threshold)


@pytest.mark.parametrize(("entries", "reason"), [
    (("cats",), "the shadow is 'cats'; expected NAME=MODEL"),
    (("cats=dogs:x",), "expected NAME=MODEL"),
    (("cats=cats",), "a model cannot be its own shadow"),
    (("cats=dogs", "cats=birds"), "are about one model"),
])  # fmt: skip
def test_entries_that_are_none_are_refused(entries: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        rules_of(entries, 0.1, 0.05)


def test_an_alias_of_the_zoo_is_its_name() -> None:
    (rule,) = rules_of(("builtin=cats:2",), 0.1, 0.05)
    assert (rule.first, rule.second, rule.version) == ("graft-mini", "cats", 2)


# Through the service


@pytest.fixture
def paths(tmp_path: Path, tiny_path: Path) -> tuple[str, str]:
    return f"tiny={tiny_path}", f"opposite={other(tmp_path / 'opposite.onnx')}"


@pytest.fixture
def shadowed(config: ServiceConfig, paths: tuple[str, str]) -> Iterator[Registry]:
    registry = Registry(
        dataclasses.replace(config, models=paths, shadows=("tiny=opposite",), shadow_share=1.0, outputs="all")
    )
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(shadowed: Registry) -> FlaskClient:
    return create_app(registry=shadowed, guard=_Open()).test_client()


class _Open(Guard):
    """Lets everybody administer."""

    def __init__(self) -> None:
        super().__init__(Tokens())

    def check(self, *given: object) -> None:
        pass


def classify(client: FlaskClient, colour: str = "red") -> dict[str, object]:
    answer = client.post("/v1/classify?model=tiny", data={"image": (io.BytesIO(plain(colour)), "a.png")})
    assert answer.status_code == 200
    return answer.get_json()["results"][0]  # type: ignore[no-any-return]


def settled(registry: Registry) -> None:
    running = registry.shadows.standing["tiny"].running
    assert running is not None
    assert running.shadow.settle(WAIT_S)


def test_clients_see_nothing_of_it_and_the_route_tells(client: FlaskClient, shadowed: Registry) -> None:
    before = client.get("/v1/models/tiny/shadow").get_json()
    assert before["sentence"] == "opposite version 1 has answered no image yet"
    assert classify(client)["predictions"][0]["label"] == "red"  # type: ignore[index]
    settled(shadowed)
    after = client.get("/v1/models/tiny/shadow").get_json()
    assert (after["state"], after["images"], after["disagreements"]) == ("running", 1, 1)
    assert after["shadow"] == {"name": "opposite", "version": 1}
    assert after["examples"][0]["model"]["answer"] == "red"
    assert after["pairs"] == [{"model": "red", "shadow": "green", "images": 1}]
    assert after["verdict"] == "undecided"
    assert "which of the two is right only the truth could tell" in after["sentence"]
    page = client.get("/metrics").text
    assert 'graft_shadow_images_total{model="tiny",outcome="disagreed",version="1"} 1.0' in page


def test_tensors_of_other_protocols_count_too(client: FlaskClient, shadowed: Registry) -> None:
    pixels = [[[[255, 0, 0]] * 16] * 16] * 2
    body = {
        "inputs": [{"name": "image", "shape": [2, 16, 16, 3], "datatype": "UINT8", "data": pixels}],
        "outputs": [{"name": "logits"}],
    }
    answer = client.post("/v2/models/tiny/infer", data=json.dumps(body))
    assert [output["name"] for output in answer.get_json()["outputs"]] == ["logits"]
    settled(shadowed)
    assert client.get("/v1/models/tiny/shadow").get_json()["images"] == 2


def test_a_failing_shadow_touches_no_client(
    client: FlaskClient, shadowed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = shadowed.shadows.standing["tiny"].running
    assert running is not None
    monkeypatch.setattr(
        running.shadow._second.session, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    assert classify(client)["predictions"][0]["label"] == "red"  # type: ignore[index]
    settled(shadowed)
    after = client.get("/v1/models/tiny/shadow").get_json()
    assert (after["failed"], after["images"], after["last_error"]) == (1, 0, "RuntimeError: broken")


def test_a_swap_of_either_begins_anew_and_says_so(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    for name, spec in (path.split("=") for path in paths):
        classify(client)
        settled(shadowed)
        assert client.get("/v1/models/tiny/shadow").get_json()["images"] == 1
        shadowed.open(Source(name, 1, spec))
        after = client.get("/v1/models/tiny/shadow").get_json()
        assert (after["state"], after["images"]) == ("running", 0)
        assert after["note"].startswith("anew since ")
        assert f"{name} version 1 was replaced or loaded again" in after["note"]


def test_without_the_shadow_or_its_model_it_waits(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    shadowed.unload("opposite")
    waiting = client.get("/v1/models/tiny/shadow").get_json()
    assert waiting["state"] == "waiting"
    assert "'opposite' is not served here" in waiting["sentence"]
    classify(client)
    shadowed.open(Source("opposite", 1, paths[1].split("=")[1]))
    assert client.get("/v1/models/tiny/shadow").get_json()["state"] == "running"


def test_a_version_that_becomes_the_one_that_answers_is_its_own_shadow_and_waits(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    spec = paths[1].split("=")[1]
    shadowed.open(Source("tiny", 2, spec))
    shadowed.move_label("tiny", "stable", 1)
    shadowed.shadows.put(ShadowRule("tiny", "tiny", 2, 1.0))
    classify(client)
    settled(shadowed)
    assert client.get("/v1/models/tiny/shadow").get_json()["disagreements"] == 1
    shadowed.move_label("tiny", "stable", 2)
    waiting = client.get("/v1/models/tiny/shadow").get_json()
    assert (waiting["state"], waiting["version"]) == ("waiting", None)
    assert "version 2 of tiny answers itself" in waiting["sentence"]


def test_an_administrator_puts_and_removes_one(client: FlaskClient) -> None:
    removed = client.delete("/v1/admin/models/tiny/shadow")
    assert (removed.status_code, removed.get_json()["state"]) == (200, "none")
    assert client.delete("/v1/admin/models/tiny/shadow").status_code == 404
    assert client.get("/v1/models/tiny/shadow").get_json()["sentence"] == "tiny has no shadow"
    body = {"model": "opposite", "share": 0.5, "threshold": 0.2}
    put = client.put("/v1/admin/models/tiny/shadow", json=body).get_json()
    assert (put["state"], put["share"], put["threshold"]) == ("running", 0.5, 0.2)


@pytest.mark.parametrize(("body", "status", "reason"), [
    ('{"model": "tiny"}', 400, "answers itself"),
    ('{"model": "gone"}', 404, "is not served here"),
    ('{"model": "opposite", "version": 7}', 404, "has no version 7"),
    ('{"model": 3}', 400, "model is no text"),
    ('{"model": "opposite", "version": "2"}', 400, "expected a whole number"),
    ('{"model": "opposite", "share": 0}', 400, "share is 0"),
    ('{"model": "opposite", "share": 1.5}', 400, "share is 1.5"),
    ('{"model": "opposite", "share": NaN}', 400, "share is nan"),
    ('{"model": "opposite", "share": "all"}', 400, "share is 'all'"),
    ('{"model": "opposite", "share": true}', 400, "share is 'True'"),
    ('{"model": "opposite", "more": 1}', 400, "the JSON has another form"),
    ("[]", 400, "the JSON has another form"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_the_old_one_goes_on(
    body: str, status: int, reason: str, client: FlaskClient
) -> None:
    answer = client.put("/v1/admin/models/tiny/shadow", data=body)
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text
    assert client.get("/v1/models/tiny/shadow").get_json()["state"] == "running"


def test_a_shadow_that_cannot_be_ends_the_start(config: ServiceConfig, paths: tuple[str, str]) -> None:
    registry = Registry(dataclasses.replace(config, models=paths, shadows=("tiny=gone",)))
    with pytest.raises(UnknownModelError, match="'gone' is not served here"):
        registry.load()
    registry.close()


def test_models_that_are_not_served_have_none(client: FlaskClient) -> None:
    assert client.get("/v1/models/gone/shadow").status_code == 404

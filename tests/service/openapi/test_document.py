"""/openapi.json is about all routes, and answers are as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.openapi.document import MEANINGS
from tests.fixtures import plain
from tests.service.openapi.schemas import differences
from tests.tuned import tuned_classifier, tuned_regression

PHOTO = {"data": plain("red"), "content_type": "image/png"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/openapi.json").get_json()


def test_every_route_is_described(client: FlaskClient, document: dict[str, Any]) -> None:
    routes = {
        (re.sub("<([^>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == routes
    for path, method in described:
        operation = document["paths"][path][method]
        assert operation["summary"].endswith(".")
        assert all(one["description"].endswith(".") for one in operation["parameters"])
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


def test_parameters_are_those_that_are_parsed(document: dict[str, Any]) -> None:
    by_name = {one["name"]: one for one in document["paths"]["/v1/features"]["post"]["parameters"]}
    assert list(by_name) == [
        "version",
        "label",
        "model",
        "timeout_ms",
        "cut",
        "pool",
        "normalize",
        "encoding",
    ]
    assert by_name["pool"]["schema"] == {
        "type": "string", "enum": ["avg", "max", "none", "flatten"], "default": "avg"
    }  # fmt: skip
    assert by_name["timeout_ms"]["schema"] == {"type": "integer", "minimum": 1}
    (*rest, name) = document["paths"]["/v1/models/{name}"]["get"]["parameters"]
    assert (name["name"], name["in"], name["required"]) == ("name", "path", True)
    assert name["schema"] == {"type": "string", "pattern": "^[^/:]+$"}
    assert {one["in"] for one in rest} == {"query"}


@pytest.mark.parametrize(
    ("method", "url", "path", "request_", "status"),
    [
        ("post", "/v1/classify", "/v1/classify", PHOTO, 200),
        ("post", "/v1/classify?model=tuned", "/v1/classify", PHOTO, 200),
        ("post", "/v1/classify?model=redness", "/v1/classify", PHOTO, 200),
        ("post", "/v1/classify", "/v1/classify", {"json": {"images": ["no image"]}}, 422),
        ("post", "/v1/classify?top_k=0", "/v1/classify", PHOTO, 400),
        ("post", "/v1/features?encoding=json", "/v1/features", PHOTO, 200),
        ("post", "/v1/features?encoding=base64&model=tuned", "/v1/features", PHOTO, 200),
        ("get", "/v1/models", "/v1/models", {}, 200),
        ("get", "/v1/models/tuned", "/v1/models/{name}", {}, 200),
        ("get", "/v1/models/builtin", "/v1/models/{name}", {}, 200),
        ("get", "/v1/models/gone", "/v1/models/{name}", {}, 404),
        ("get", "/livez", "/livez", {}, 200),
        ("get", "/readyz", "/readyz", {}, 200),
    ],
)
def test_answers_are_as_described(
    everything: FlaskClient, method: str, url: str, path: str, request_: dict[str, Any], status: int
) -> None:
    document = everything.get("/openapi.json").get_json()
    response = everything.open(url, method=method, **request_)
    assert response.status_code == status
    described = document["paths"][path][method]["responses"][str(status)]["content"][response.mimetype][
        "schema"
    ]
    answer = response.get_json()
    if status == 422:  # what stands beside an error is its route's
        answer = {"error": answer["error"]}
    assert list(differences(answer, described, document)) == []


@pytest.fixture(scope="module")
def everything(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A service with a classifier of each kind and a regression."""
    folder = tmp_path_factory.mktemp("models")
    specs = (tiny_path, f"tuned={tuned_classifier(folder)}", f"redness={tuned_regression(folder)}", "builtin")
    return create_app(ServiceConfig(models=tuple(map(str, specs)), measure_s=0.0)).test_client()


def test_statuses_are_those_of_the_page_about_http() -> None:
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8").partition("## Errors")[2]
    told = {int(number) for row in re.findall(r"^\| ([\d, ]+) \|", page, re.M) for number in row.split(",")}
    assert set(MEANINGS) <= told

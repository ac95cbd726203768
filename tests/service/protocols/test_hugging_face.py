"""Hugging Face's tasks of images through Flask's client."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from tests.fixtures import plain
from tests.models.nets import residual_net
from tests.tuned import tuned_classifier, tuned_regression

CLASSIFY = "/models/tiny/pipeline/image-classification"
EXTRACT = "/models/tiny/pipeline/image-feature-extraction"


def text(colour: str | tuple[int, ...] = "red") -> str:
    return base64.b64encode(plain(colour)).decode()


def error(answer: Any) -> tuple[int, str]:
    body = answer.get_json()
    assert set(body) == {"error"}
    return answer.status_code, body["error"]


@pytest.mark.parametrize("content_type", [None, "image/png", "application/octet-stream"])
@pytest.mark.parametrize("url", [CLASSIFY, "/models/tiny"])
def test_bytes_of_an_image(client: FlaskClient, url: str, content_type: str | None) -> None:
    scores = client.post(url, data=plain("green"), content_type=content_type).get_json()
    assert [one["label"] for one in scores] == ["green", "red", "blue"]
    assert scores[0]["score"] == pytest.approx(0.9999092)
    assert set(scores[0]) == {"label", "score"}


def test_json_with_parameters(client: FlaskClient) -> None:
    parameters = {"top_k": 1, "function_to_apply": "softmax"}
    (one,) = client.post(CLASSIFY, json={"inputs": text("blue"), "parameters": parameters}).get_json()
    assert one["label"] == "blue"
    data_uri = f"data:image/png;base64,{text('blue')}"
    both = client.post(CLASSIFY, json={"inputs": [text(), data_uri], "parameters": {"top_k": 1}}).get_json()
    assert [[score["label"] for score in scores] for scores in both] == [["red"], ["blue"]]


@pytest.mark.parametrize("task", ["image-feature-extraction", "feature-extraction"])
def test_features(client: FlaskClient, task: str) -> None:
    url = f"/models/tiny/pipeline/{task}"
    assert client.post(url, data=plain("red")).get_json() == [[1.0, 0.0, 0.0]]
    body = {"inputs": [text("blue"), text((0, 102, 51))], "normalize": True}
    (blue, other) = client.post(url, json=body).get_json()
    assert blue == [0.0, 0.0, 1.0]
    assert other == pytest.approx([0, 2 / 5**0.5, 1 / 5**0.5])
    assert client.post(url, json={**body, "parameters": {"normalize": False}, "normalize": None}).get_json()


def test_task_is_that_of_the_model(tmp_path: Path, config: ServiceConfig) -> None:
    paths = (
        tuned_classifier(tmp_path),
        tuned_regression(tmp_path),
        residual_net(tmp_path / "net.onnx", end="features"),
    )
    client = create_app(dataclasses.replace(config, models=tuple(map(str, paths)))).test_client()
    scores = client.post("/models/tuned", data=plain((200, 200, 200))).get_json()
    assert [score["rejected"] for score in scores] == [True] * 3
    (vector,) = client.post("/models/net", data=plain("red")).get_json()
    assert all(isinstance(value, float) for value in vector)
    status, message = error(client.post("/models/redness", data=plain("red")))
    assert (status, "gives a number, not classes" in message) == (400, True)


@pytest.mark.parametrize(
    ("url", "body", "status", "reason"),
    [
        (CLASSIFY, b"", 400, "the request has no body"),
        (CLASSIFY, b"no image", 422, "image: not an image"),
        (CLASSIFY, {}, 400, "inputs is missing"),
        (CLASSIFY, [], 400, "the body is no object"),
        (CLASSIFY, {"inputs": "?"}, 422, "inputs: no base64"),
        (CLASSIFY, {"inputs": [text(), 3]}, 422, "inputs[1]: int; expected"),
        (CLASSIFY, {"inputs": []}, 400, "the request holds no image"),
        (CLASSIFY, {"inputs": [""] * 10_000}, 400, "the request holds 10000 images"),
        (CLASSIFY, {"inputs": text(), "parameters": {"top_k": 0}}, 400, "top_k is 0"),
        (CLASSIFY, {"inputs": text(), "parameters": {"top_k": True}}, 400, "top_k is True"),
        (CLASSIFY, {"inputs": text(), "parameters": {"topk": 1}}, 400, "the parameter 'topk' is not known"),
        (CLASSIFY, {"inputs": text(), "parameters": [1]}, 400, "parameters are [1]"),
        (CLASSIFY, {"inputs": text(), "parameters": {"function_to_apply": "sigmoid"}}, 400, "expected softmax"),
        (CLASSIFY, {"inputs": text(), "options": {}}, 400, "the field 'options' is not known"),
        (EXTRACT, {"inputs": text(), "truncate": True}, 400, "truncate is for text"),
        (EXTRACT, {"inputs": text(), "normalize": 1}, 400, "normalize is 1"),
        (EXTRACT, {"inputs": text(), "dimensions": 2}, 400, "dimensions is 2; there are 3"),
        (EXTRACT, {"inputs": text(), "encoding_format": "base64"}, 400, "encoding_format is not float"),
        ("/models/none", b"x", 404, "model 'none' is not served here"),
        ("/models/tiny/pipeline/text-generation", b"x", 404, "the task 'text-generation' is none of images"),
        ("/models/a%2Fb", b"x", 404, "Nothing is at this address"),
        ("/models/a:b", b"x", 404, "Nothing is at this address"),
    ],
)  # fmt: skip
def test_bad_requests(client: FlaskClient, url: str, body: Any, status: int, reason: str) -> None:
    if isinstance(body, bytes):
        answer = client.post(url, data=body)
    else:
        answer = client.post(url, data=json.dumps(body), content_type="application/json")
    told = error(answer)
    assert (told[0], reason in told[1]) == (status, True), told

"""OpenAI's embeddings and models through Flask's client."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import plain

URL = "/v1/embeddings"


def uri(colour: str | tuple[int, ...] = "red") -> str:
    return f"data:image/png;base64,{base64.b64encode(plain(colour)).decode()}"


def error(answer: Any) -> tuple[int, dict[str, Any]]:
    body = answer.get_json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return answer.status_code, body["error"]


def test_answer_is_what_the_specification_says(client: FlaskClient) -> None:
    answer = client.post(URL, json={"model": "tiny", "input": uri()})
    assert answer.get_json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1.0, 0.0, 0.0]}],
        "model": "tiny",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def test_vectors_have_length_1_in_both_encodings(client: FlaskClient) -> None:
    asked = {"model": "other", "input": [uri("blue"), uri((0, 102, 51))], "dimensions": 3, "user": "me"}
    numbers = client.post(URL, json=asked).get_json()["data"]
    assert numbers[1]["embedding"] == pytest.approx([0, 2 / 5**0.5, 1 / 5**0.5])
    assert [one["index"] for one in numbers] == [0, 1]
    packed = client.post(URL, json={**asked, "encoding_format": "base64"}).get_json()["data"]
    for one, other in zip(numbers, packed, strict=True):
        values = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert values.tolist() == one["embedding"]


def test_models_are_listed_beside_what_graft_says(client: FlaskClient) -> None:
    body = client.get("/v1/models").get_json()
    assert body["object"] == "list"
    first, second = body["data"]
    assert (first["id"], second["id"]) == ("tiny", "other")
    assert (first["object"], first["owned_by"]) == ("model", "graft")
    assert time.time() - 600 < first["created"] <= time.time()
    one = client.get("/v1/models/tiny").get_json()
    assert {name: one[name] for name in first} == first


def test_model_that_is_loading_is_not_listed(config: ServiceConfig) -> None:
    client = create_app(registry=Registry(config)).test_client()
    assert client.get("/v1/models").get_json()["data"] == []
    assert client.get("/v1/models/tiny").get_json()["created"] == 0
    status, told = error(client.post(URL, json={"model": "tiny", "input": uri()}))
    assert (status, told["type"]) == (503, "server_error")


@pytest.mark.parametrize(
    ("body", "status", "param", "reason"),
    [
        (b"{", 400, None, "the body is no JSON"),
        ([], 400, None, "the body is no object"),
        ({"model": "tiny"}, 400, "input", "input is missing"),
        ({"input": uri()}, 400, "model", "model is missing"),
        ({"model": 3, "input": uri()}, 400, "model", "model is 3; expected text"),
        ({"model": "none", "input": uri()}, 404, None, "model 'none' is not served here"),
        ({"model": "tiny", "input": "a red square"}, 400, "input", "texts and tokens have no embedding here"),
        ({"model": "tiny", "input": [1, 2]}, 400, "input[0]", "texts and tokens have no embedding here"),
        ({"model": "tiny", "input": [uri(), "x"]}, 400, "input[1]", "input[1] is 'x'"),
        ({"model": "tiny", "input": "data:image/png;base64,?"}, 400, "input", "no base64"),
        ({"model": "tiny", "input": "data:image/png;base64,QUJD"}, 400, "input", "not an image"),
        ({"model": "tiny", "input": "data:text/plain,hello"}, 400, "input", "a data URI without base64"),
        ({"model": "tiny", "input": []}, 400, None, "the request holds no image"),
        ({"model": "tiny", "input": ["data:;base64,"] * 10_000}, 400, None, "the request holds 10000 images"),
        ({"model": "tiny", "input": uri(), "dimensions": 2}, 400, "dimensions", "dimensions is 2; this model's"),
        ({"model": "tiny", "input": uri(), "dimensions": "3"}, 400, "dimensions", "dimensions is '3'"),
        ({"model": "tiny", "input": uri(), "encoding_format": "hex"}, 400, "encoding_format", "float or base64"),
        ({"model": "tiny", "input": uri(), "truncate": True}, 400, "truncate", "'truncate' is not known"),
    ],
)  # fmt: skip
def test_bad_requests(client: FlaskClient, body: Any, status: int, param: str | None, reason: str) -> None:
    answer = client.post(URL, data=body if isinstance(body, bytes) else json.dumps(body))
    told, what = error(answer)
    assert (told, what["param"], reason in what["message"]) == (status, param, True), what
    assert what["type"] == "invalid_request_error"
    assert what["code"] == ("model_not_found" if status == 404 else None)


def test_answer_that_would_be_too_large_is_refused(config: ServiceConfig) -> None:
    client = create_app(dataclasses.replace(config, models=("builtin",), max_values=2000)).test_client()
    assert client.post(URL, json={"model": "graft-mini", "input": uri()}).status_code == 200
    status, told = error(client.post(URL, json={"model": "graft-mini", "input": [uri()] * 2}))
    assert (status, "at pool; at most 2,000 go together" in told["message"]) == (400, True)


def test_other_methods_are_refused_in_the_form_of_the_protocol(client: FlaskClient) -> None:
    assert error(client.get(URL))[0] == 405
    assert error(client.post(f"{URL}/x"))[0] == 404

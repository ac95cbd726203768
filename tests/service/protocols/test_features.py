"""POST /v1/features: cut points, as numbers and as base64."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import plain

URL = "/v1/features"


def post(client: FlaskClient, query: str = "", colour: str = "green") -> dict[str, object]:
    response = client.post(URL + query, data=plain(colour), content_type="image/png")
    return {"status": response.status_code, **response.get_json()}


def test_default_is_the_pooled_vector(client: FlaskClient) -> None:
    body = post(client)
    assert (body["model"], body["cut"]) == ("tiny", "pool")
    assert body["results"] == [{"image": "image", "shape": [3], "features": [0.0, 1.0, 0.0]}]


@pytest.mark.parametrize(("cut", "expected"), [("pool", 1.0), ("logits", 10.0)])
def test_base64_is_little_endian_float32(client: FlaskClient, cut: str, expected: float) -> None:
    (row,) = post(client, f"?cut={cut}&encoding=base64")["results"]  # type: ignore[misc]
    values = np.frombuffer(base64.b64decode(row["features"]), "<f4")
    np.testing.assert_array_equal(values, [0, expected, 0])


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?cut=gone", "tiny has no cut point 'gone'; it has pool, logits."),
        ("?encoding=pickle", "encoding is 'pickle'; expected json or base64."),
        ("?top_k=3", "parameter 'top_k' is not known"),
    ],
)
def test_bad_parameters(client: FlaskClient, query: str, reason: str) -> None:
    body = post(client, query)
    assert body["status"] == 400
    assert reason in body["error"]["message"]  # type: ignore[index]


def test_bad_image_is_reported(client: FlaskClient) -> None:
    images = [base64.b64encode(data).decode() for data in (b"bad", plain("red"))]
    rows = client.post(URL, json={"images": images}).get_json()["results"]
    assert ["error" in row for row in rows] == [True, False]


def test_answer_that_would_be_too_large_is_refused(config: ServiceConfig) -> None:
    registry = Registry(dataclasses.replace(config, max_values=5))
    registry.load()
    client = create_app(registry=registry).test_client()
    image = base64.b64encode(plain("red")).decode()
    assert client.post(URL, json={"images": [image]}).status_code == 200
    response = client.post(URL, json={"images": [image] * 2})
    assert response.status_code == 400
    assert "2 images give 6 numbers at pool; at most 5" in response.get_json()["error"]["message"]

"""POST /v1/classify with models that were fine-tuned."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import plain
from tests.tuned import tuned_classifier, tuned_regression


@pytest.fixture
def served(tmp_path: Path) -> FlaskClient:
    paths = (tuned_classifier(tmp_path), tuned_regression(tmp_path))
    registry = Registry(
        ServiceConfig(tuple(map(str, paths)), runtime=RuntimeConfig(device="cpu", threads=1), measure_s=0.0)
    )
    registry.load()
    return create_app(registry=registry).test_client()


def test_rejected_images_are_marked(served: FlaskClient) -> None:
    images = [(io.BytesIO(plain(colour)), "x.png") for colour in ("red", (200, 200, 200))]
    body = served.post(
        "/v1/classify?top_k=1", data={"image": images}, content_type="multipart/form-data"
    ).get_json()
    red, grey = body["results"]
    assert (red["rejected"], grey["rejected"]) == (False, True)
    assert grey["reject_score"] == pytest.approx(0.845299, rel=1e-5)
    assert [row["predictions"][0]["label"] for row in (red, grey)] == ["red", "red"]


def test_regression_answers_with_value_and_interval(served: FlaskClient) -> None:
    response = served.post("/v1/classify?model=redness", data=plain("red"), content_type="image/png")
    assert response.get_json() == {
        "model": "redness",
        "results": [
            {"image": "image", "value": 100.0, "unit": "%", "interval": [99.75, 100.25], "coverage": 0.9}
        ],
    }


def test_models_tell_task_and_threshold(served: FlaskClient) -> None:
    tasks = {row["name"]: row["task"] for row in served.get("/v1/models").get_json()["models"]}
    assert tasks == {"tuned": "classification", "redness": "regression"}
    assert served.get("/v1/models/tuned").get_json()["card"]["reject"]["threshold"] == 0.3


@pytest.mark.parametrize(("model", "cut"), [("tuned", "pool"), ("redness", "pool")])
def test_features_have_their_cut(served: FlaskClient, model: str, cut: str) -> None:
    url = f"/v1/features?model={model}"
    body = served.post(url, data=plain("red"), content_type="image/png").get_json()
    assert (body["cut"], body["results"][0]["features"]) == (cut, [1.0, 0.0, 0.0])

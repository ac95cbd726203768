"""TensorFlow Serving's REST interface through Flask's client: what its page says, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import plain
from tests.tuned import tuned_classifier, tuned_regression

PREDICT = "/v1/models/tiny:predict"
RED_PIXELS = [[[255, 0, 0]] * 16] * 16
PROBABILITIES = pytest.approx([0.9999092, 0.0000454, 0.0000454], rel=1e-3)


def file(colour: str | tuple[int, ...] = "red") -> dict[str, str]:
    return {"b64": base64.b64encode(plain(colour)).decode()}


def error(answer: Any) -> tuple[int, str]:
    body = answer.get_json()
    assert set(body) == {"error"}
    return answer.status_code, body["error"]


@pytest.fixture
def served(tmp_path: Path, config: ServiceConfig, tiny_path: Path) -> ServiceConfig:
    paths = (tiny_path, tuned_classifier(tmp_path), tuned_regression(tmp_path))
    return dataclasses.replace(config, models=tuple(map(str, paths)))


class TestPredict:
    @pytest.mark.parametrize(
        "image",
        [file(), {"image": file()}, RED_PIXELS, {"image": RED_PIXELS}],
        ids=["b64", "named", "pixels", "both"],
    )
    def test_rows(self, client: FlaskClient, image: Any) -> None:
        assert client.post(PREDICT, json={"instances": [image]}).get_json() == {
            "predictions": [PROBABILITIES]
        }

    @pytest.mark.parametrize(
        "inputs", [[file()], file(), {"image": [file()]}, {"image": file()}, [RED_PIXELS]]
    )
    def test_columns(self, client: FlaskClient, inputs: Any) -> None:
        body = client.post(PREDICT, json={"inputs": inputs}).get_json()
        assert body == {"outputs": [PROBABILITIES]}

    def test_body_is_json_whatever_its_type_says(self, client: FlaskClient) -> None:
        """The published page's `curl -d` sends the type of a web form."""
        data = json.dumps({"signature_name": "serving_default", "instances": [file("green")]})
        answer = client.post(PREDICT, data=data, content_type="application/x-www-form-urlencoded")
        assert answer.get_json()["predictions"][0][1] > 0.99

    def test_several_outputs_are_named(self, served: ServiceConfig) -> None:
        client = create_app(dataclasses.replace(served, outputs="all")).test_client()
        url = "/v1/models/tuned:predict"
        rows = client.post(url, json={"instances": [file(), file((200, 200, 200))]}).get_json()
        columns = client.post(url, json={"inputs": [file(), file((200, 200, 200))]}).get_json()
        assert rows["rejected"] == columns["rejected"] == [False, True]
        red, grey = rows["predictions"]
        assert set(red) == {"probabilities", "logits", "reject_score"}
        assert columns["outputs"] == {name: [red[name], grey[name]] for name in red}

    def test_floats_are_pixels(self, client: FlaskClient) -> None:
        pixels = [[[254.9, 0.0, 0.2]] * 16] * 16
        assert client.post(PREDICT, json={"instances": [pixels]}).get_json() == {
            "predictions": [PROBABILITIES]
        }
        for scaled in (0.5, 1.0, -1.0):
            answer = client.post(PREDICT, json={"instances": [[[[scaled, 0.0, 0.0]] * 16] * 16]})
            status, message = error(answer)
            assert (status, "expected pixels" in message) == (400, True)


class TestExamples:
    def test_classify(self, client: FlaskClient) -> None:
        examples = [{"image": file()}, {"image": file("blue")}]
        body = client.post("/v1/models/tiny:classify", json={"examples": examples}).get_json()
        red, blue = body.pop("results")
        assert body == {}
        assert [label for label, _ in red] == ["red", "green", "blue"]
        assert [score for _, score in red] == PROBABILITIES
        assert blue[2][1] > 0.99

    def test_regress(self, served: ServiceConfig) -> None:
        client = create_app(served).test_client()
        examples = {"examples": [{"image": file()}, {"image": file("blue")}]}
        assert client.post("/v1/models/redness:regress", json=examples).get_json() == {
            "results": [100.0, 0.0]
        }
        status, message = error(client.post("/v1/models/tuned:regress", json=examples))
        assert (status, "is no regression" in message) == (400, True)
        status, message = error(client.post("/v1/models/redness:classify", json=examples))
        assert (status, "gives a number, not classes" in message) == (400, True)
        rejected = client.post(
            "/v1/models/tuned:classify", json={"examples": [file((200, 200, 200))]}
        ).get_json()
        assert rejected["rejected"] == [True]


class TestModels:
    @pytest.fixture
    def versions(self, config: ServiceConfig, tmp_path: Path, tiny_path: Path) -> Iterator[FlaskClient]:
        """Two versions of a model, of which the older one is stable, and a third that could not be loaded."""
        for version in "12":
            (tmp_path / "cats" / version).mkdir(parents=True)
            (tmp_path / "cats" / version / "model.onnx").write_bytes(tiny_path.read_bytes())
        config = dataclasses.replace(config, models=(str(tmp_path),), labels=("stable=cats:1",))
        registry = Registry(config)
        registry.load()
        registry.states["cats", 3] = ("failed", "no ONNX file")
        yield create_app(registry=registry).test_client()
        registry.close()

    def test_status(self, versions: FlaskClient) -> None:
        ready = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        failed = {"state": "END", "status": {"error_code": "UNKNOWN", "error_message": "no ONNX file"}}
        rows = versions.get("/v1/models/cats").get_json()["model_version_status"]
        assert rows == [{"version": "3", **failed}, {"version": "2", **ready}, {"version": "1", **ready}]
        one = {"model_version_status": [{"version": "1", **ready}]}
        assert versions.get("/v1/models/cats/versions/1").get_json() == one
        assert versions.get("/v1/models/cats/labels/stable").get_json() == one
        assert error(versions.get("/v1/models/cats/versions/9"))[0] == 404
        assert error(versions.get("/v1/models/cats/labels/canary"))[0] == 404

    @pytest.mark.parametrize(("path", "version"), [("", "1"), ("/versions/2", "2"), ("/labels/stable", "1")])
    def test_versions_and_labels_are_asked_like_the_model(
        self, versions: FlaskClient, path: str, version: str
    ) -> None:
        answer = versions.post(f"/v1/models/cats{path}:predict", json={"instances": [file()]})
        assert answer.get_json() == {"predictions": [PROBABILITIES]}
        spec = versions.get(f"/v1/models/cats{path}/metadata").get_json()["model_spec"]
        assert spec == {"name": "cats", "signature_name": "", "version": version}

    def test_metadata(self, client: FlaskClient) -> None:
        body = client.get("/v1/models/tiny/metadata").get_json()
        signatures = body["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == {"serving_default", "serving_pixels"}
        default = signatures["serving_default"]
        assert default["inputs"]["image"]["dtype"] == "DT_STRING"
        assert default["method_name"] == "tensorflow/serving/predict"
        assert default["outputs"] == {
            "probabilities": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {
                    "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}],
                    "unknown_rank": False,
                },
                "name": "probabilities:0",
            }
        }
        shape = signatures["serving_pixels"]["inputs"]["image"]["tensor_shape"]["dim"]
        assert [one["size"] for one in shape] == ["-1", "16", "16", "3"]


@pytest.mark.parametrize(
    ("url", "body", "status", "reason"),
    [
        (PREDICT, b"{", 400, "the body is no JSON"),
        (PREDICT, [], 400, "the body is no object"),
        (PREDICT, {}, 400, "both instances and inputs, or none of them"),
        (PREDICT, {"instances": [file()], "inputs": [file()]}, 400, "both instances and inputs"),
        (PREDICT, {"instances": []}, 400, "the request holds no image"),
        (PREDICT, {"instances": file()}, 400, "instances is no list"),
        (PREDICT, {"instances": [{"b64": ""}] * 10_000}, 400, "the request holds 10000 images; at most 40"),
        (PREDICT, {"instances": [1] * 10_000}, 400, "the request holds 10000 images; at most 40"),
        (PREDICT, {"instances": [file(), RED_PIXELS]}, 400, "or both kinds"),
        (PREDICT, {"instances": [{"photo": file()}]}, 400, "instances holds something else than images"),
        (PREDICT, {"instances": ["text"]}, 400, "instances holds something else than images"),
        (PREDICT, {"inputs": {"a": [file()], "b": [file()]}}, 400, "inputs are 'a', 'b'; expected one, 'image'"),
        (PREDICT, {"inputs": "text"}, 400, "inputs is no list"),
        (PREDICT, {"instances": [{"b64": "?"}]}, 422, "instances[0]: no base64"),
        (PREDICT, {"instances": [{"b64": 3}]}, 422, "instances[0]: int; expected an image file as base64"),
        (PREDICT, {"instances": [{"b64": "QUJD"}]}, 422, "instances[0]: not an image"),
        (PREDICT, {"instances": [[[[255, 0, 0]] * 8] * 8]}, 400, "expected [N, 16, 16, 3]: pixels in RGB"),
        (PREDICT, {"instances": [[1, 2], [3]]}, 400, "the data of 'instances' is no tensor"),
        (PREDICT, {"instances": [[["x"]]]}, 400, "expected lists of numbers"),
        (PREDICT, {"instances": [file()], "signature_name": "other"}, 400, "signature_name is 'other'; expected"),
        (PREDICT, {"instances": [file()], "signature_name": ["x"]}, 400, "signature_name is ['x']"),
        (PREDICT, {"instances": [file()], "threshold": 1}, 400, "the field 'threshold' is not known"),
        ("/v1/models/tiny:classify", {"instances": [file()]}, 400, "the field 'instances' is not known"),
        ("/v1/models/tiny:classify", {}, 400, "the body has no examples"),
        ("/v1/models/tiny:classify", {"examples": [file()], "context": {"a": 1}}, 400, "context is not empty"),
        ("/v1/models/none:predict", {"instances": [file()]}, 404, "model 'none' is not served here"),
        ("/v1/models/tiny/versions/9:predict", {"instances": [file()]}, 404, "has no version 9"),
        ("/v1/models/tiny/versions/x:predict", {"instances": [file()]}, 400, "version is 'x'"),
        ("/v1/models/tiny/labels/none:predict", {"instances": [file()]}, 404, "has no label 'none'"),
        ("/v1/models/tiny:explain", {"instances": [file()]}, 404, "Nothing is at this address"),
        ("/v1/models/a:b:predict", {"instances": [file()]}, 404, "Nothing is at this address"),
        ("/v1/models/%C3%A9:predict", {"instances": [file()]}, 404, "model 'é' is not served here"),
    ],
)  # fmt: skip
def test_bad_requests(client: FlaskClient, url: str, body: Any, status: int, reason: str) -> None:
    told = error(client.post(url, data=body if isinstance(body, bytes) else json.dumps(body)))
    assert (told[0], reason in told[1]) == (status, True), told
    assert client.post(PREDICT, json={"instances": [file()]}).status_code == 200


def test_other_methods_are_refused_in_the_form_of_the_protocol(client: FlaskClient) -> None:
    answer = client.get(PREDICT)
    assert error(answer)[0] == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert error(client.post("/v1/models/tiny/metadata"))[0] == 405

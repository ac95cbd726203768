"""The Open Inference Protocol through Flask's client: what its specification says, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests.fixtures import plain
from tests.models.nets import residual_net
from tests.tuned import tuned_classifier, tuned_regression

INFER = "/v2/models/tiny/infer"
SHAPE = [1, 16, 16, 3]
RED = [255, 0, 0] * 256
TOKEN, LINE = new_token(["admin"])


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": SHAPE, **fields}


def ask(client: FlaskClient, url: str = INFER, **fields: Any) -> TestResponse:
    return client.post(url, json={"inputs": [tensor(data=RED)], **fields})


def ask_binary(client: FlaskClient, tensor: dict[str, Any], data: bytes, **fields: Any) -> TestResponse:
    header = json.dumps(
        {"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}], **fields}
    ).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    return client.post(INFER, data=header + data, headers=length)


def probabilities(answer: TestResponse) -> list[float]:
    assert answer.status_code == 200, answer.text
    (output,) = answer.get_json()["outputs"]
    return output["data"]  # type: ignore[no-any-return]


def error(answer: TestResponse) -> tuple[int, str]:
    body = answer.get_json()
    assert set(body) == {"error"}
    return answer.status_code, body["error"]


def test_answer_is_what_the_specification_says(client: FlaskClient) -> None:
    body = ask(client, id="é1").get_json()
    (output,) = body.pop("outputs")
    assert body == {"id": "é1", "model_name": "tiny", "model_version": "1"}
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [1, 3])
    assert output["data"] == pytest.approx([0.9999092, 0.0000454, 0.0000454], rel=1e-3)


def test_pixels_and_files_in_every_form_give_the_same(client: FlaskClient) -> None:
    expected = probabilities(ask(client))
    png = plain("red")
    element = struct.pack("<I", len(png)) + png
    text = base64.b64encode(png).decode()
    for inputs in (
        tensor(data=np.array(RED).reshape(SHAPE).tolist()),
        tensor(data=RED, datatype="FP32"),
        tensor(data=RED, datatype="INT32"),
        tensor(data=[text], datatype="BYTES", shape=[1]),
        tensor(data=[f"data:image/png;base64,{text}"], datatype="BYTES", shape=[1, 1]),
    ):
        assert probabilities(client.post(INFER, json={"inputs": [inputs]})) == expected
    for kind, data in (
        ({}, np.array(RED, np.uint8).tobytes()),
        ({"datatype": "FP32"}, np.array(RED, np.float32).tobytes()),
        ({"datatype": "FP16"}, np.array(RED, np.float16).tobytes()),
        ({"datatype": "BYTES", "shape": [1]}, element),
    ):
        assert probabilities(ask_binary(client, tensor(**kind), data)) == expected


def test_several_images_in_one_request(client: FlaskClient) -> None:
    files = [plain(colour) for colour in ("red", "green", "blue")]
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    (output,) = ask_binary(client, tensor(datatype="BYTES", shape=[3]), data).get_json()["outputs"]
    assert output["shape"] == [3, 3]
    assert np.argmax(np.reshape(output["data"], (3, 3)), axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
        {
            "parameters": {"binary_data_output": False},
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        },
    ],
)
def test_binary_answer_stands_behind_its_json(client: FlaskClient, fields: dict[str, Any]) -> None:
    answer = ask(client, **fields)
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream")
    (output,) = json.loads(answer.data[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 12}
    values = np.frombuffer(answer.data[length:], "<f4")
    assert values.tolist() == probabilities(ask(client))


@pytest.mark.parametrize(("wanted", "count"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
def test_classification_extension(client: FlaskClient, wanted: int, count: int) -> None:
    answer = ask(client, outputs=[{"name": "probabilities", "parameters": {"classification": wanted}}])
    (output,) = answer.get_json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, count])
    assert output["data"] == ["0.999909:0:red", "0.000045:1:green", "0.000045:2:blue"][:count]


def test_packed_request_says_its_length_as_it_was_before(client: FlaskClient) -> None:
    expected = probabilities(ask(client))
    data = bytes(RED)
    inputs = [tensor(parameters={"binary_data_size": len(data)})]
    header = json.dumps({"id": "x" * 200, "inputs": inputs}).encode()
    for coding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        packed = pack(header + data)
        assert len(packed) < len(header)
        headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Encoding": coding}
        assert probabilities(client.post(INFER, data=packed, headers=headers)) == expected


class TestModels:
    def test_server(self, client: FlaskClient) -> None:
        body = client.get("/v2").get_json()
        assert body["name"] == "graft"
        assert {"binary_tensor_data", "classification", "model_repository"} < set(body["extensions"])
        assert [client.get(f"/v2/health/{word}").get_json() for word in ("live", "ready")] == [
            {"live": True},
            {"ready": True},
        ]

    def test_server_that_is_loading_is_alive_and_not_ready(self, config: ServiceConfig) -> None:
        client = create_app(registry=Registry(config)).test_client()
        assert client.get("/v2/health/live").status_code == 200
        status, message = error(client.get("/v2/health/ready"))
        assert (status, "tiny, other is being loaded" in message) == (503, True)
        assert error(client.get("/v2/models/tiny/ready"))[0] == 503
        rows = client.post("/v2/repository/index").get_json()
        assert rows[0] == {"name": "other", "version": "1", "state": "LOADING"}
        assert client.post("/v2/repository/index", json={"ready": True}).get_json() == []

    @pytest.mark.parametrize("path", ["", "/versions/1"])
    def test_metadata_and_configuration_agree(self, client: FlaskClient, path: str) -> None:
        assert client.get(f"/v2/models/tiny{path}").get_json() == {
            "name": "tiny",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        }
        body = client.get(f"/v2/models/tiny{path}/config").get_json()
        assert body["max_batch_size"] == 40
        assert body["input"] == [
            {"name": "image", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": [16, 16, 3]}
        ]
        assert body["output"] == [
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3], "label_filename": "labels.txt"}
        ]
        assert client.get(f"/v2/models/tiny{path}/ready").get_json() == {"name": "tiny", "ready": True}

    def test_statistics_count_what_was_asked(self, client: FlaskClient) -> None:
        two = {"inputs": [tensor(shape=[2, 16, 16, 3], data=RED * 2)]}
        assert client.post(INFER, json=two).status_code == 200
        assert ask(client).status_code == 200
        assert ask(client, outputs=[{"name": "none"}]).status_code == 400
        (row,) = client.get("/v2/models/tiny/stats").get_json()["model_stats"]
        assert (row["inference_count"], row["execution_count"]) == (3, 2)
        inferred = row["inference_stats"]
        counts = {name: inferred[name]["count"] for name in ("success", "fail", "queue", "compute_infer")}
        assert counts == {"success": 2, "fail": 1, "queue": 2, "compute_infer": 2}
        parts = ("queue", "compute_input", "compute_infer", "compute_output")
        assert inferred["success"]["ns"] >= sum(inferred[name]["ns"] for name in parts) > 0
        assert [one["batch_size"] for one in row["batch_stats"]] == [1, 2]
        assert row["last_inference"] > 1e12  # milliseconds
        rows = client.get("/v2/models/stats").get_json()["model_stats"]
        assert [(one["name"], one["inference_count"]) for one in rows] == [("tiny", 3), ("other", 0)]
        assert client.get("/v2/models/tiny/versions/1/stats").get_json()["model_stats"] == [row]


class TestViews:
    @pytest.fixture
    def served(self, tmp_path: Path, config: ServiceConfig) -> ServiceConfig:
        paths = (tuned_classifier(tmp_path), tuned_regression(tmp_path))
        return dataclasses.replace(config, models=tuple(map(str, paths)))

    def test_one_output_and_beside_it_whether_an_image_is_none_of_the_classes(
        self, served: ServiceConfig
    ) -> None:
        client = create_app(served).test_client()
        grey = {"inputs": [tensor(shape=[2, 16, 16, 3], data=RED + [200] * 768)]}
        body = client.post("/v2/models/tuned/infer", json=grey).get_json()
        assert [output["name"] for output in body["outputs"]] == ["probabilities"]
        assert body["parameters"] == {"rejected": [False, True]}

    def test_all_outputs(self, served: ServiceConfig) -> None:
        client = create_app(dataclasses.replace(served, outputs="all")).test_client()
        described = client.get("/v2/models/tuned").get_json()["outputs"]
        body = ask(client, "/v2/models/tuned/infer").get_json()
        given = {output["name"]: output for output in body["outputs"]}
        assert list(given) == [output["name"] for output in described]
        assert given["logits"]["data"] == pytest.approx([6, 0, 0])
        assert given["reject_score"]["shape"] == [1, 1]
        assert body["parameters"] == {"rejected": [False]}
        (logits,) = ask(client, "/v2/models/tuned/infer", outputs=[{"name": "logits"}]).get_json()["outputs"]
        assert logits == given["logits"]

    def test_network_without_classes(self, tmp_path: Path, config: ServiceConfig) -> None:
        path = residual_net(tmp_path / "net.onnx", end="features")
        client = create_app(dataclasses.replace(config, models=(str(path),))).test_client()
        (described,) = client.get("/v2/models/net").get_json()["outputs"]
        png = base64.b64encode(plain("red")).decode()
        inputs = [tensor(datatype="BYTES", shape=[2], data=[png, png])]
        (output,) = client.post("/v2/models/net/infer", json={"inputs": inputs}).get_json()["outputs"]
        assert (output["name"], output["shape"]) == (described["name"], [2, *described["shape"][1:]])
        first, second = np.reshape(output["data"], (2, -1))
        np.testing.assert_array_equal(first, second)

    def test_value_of_a_regression(self, served: ServiceConfig) -> None:
        client = create_app(served).test_client()
        assert client.get("/v2/models/redness/config").get_json()["output"] == [
            {"name": "value", "data_type": "TYPE_FP32", "dims": [1]}
        ]
        (output,) = ask(client, "/v2/models/redness/infer").get_json()["outputs"]
        assert (output["shape"], output["data"]) == ([1, 1], [100.0])


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"", 400, "the body is no JSON"),
        (b"[" * 60_000, 400, "the body is no JSON"),
        (b'{"inputs": [NaN]}', 400, "NaN is no number of JSON"),
        ({"inputs": [tensor(data=RED, name="photo")]}, 400, "the inputs are 'photo'; expected one, 'image'"),
        ({"inputs": [tensor(data=RED), tensor(data=RED, name="b")]}, 400, "the inputs are 'image', 'b'"),
        ({"inputs": [tensor(data=[1.5] * 768, datatype="FP32", shape=SHAPE)]}, 200, ""),
        ({"inputs": [tensor(data=[0.5] * 768, datatype="FP32")]}, 400, "as if they were scaled to 0..1"),
        ({"inputs": [tensor(data=[256] * 768)]}, 400, "from 256 to 256; expected pixels from 0 to 255"),
        ({"inputs": [tensor(data=RED, shape=[1, 3, 16, 16])]}, 400, "expected [N, 16, 16, 3]: pixels in RGB"),
        ({"inputs": [tensor(data=RED, shape=[768])]}, 400, "the request holds 768 images; at most 40 go together"),
        ({"inputs": [tensor(data=[], shape=[0, 16, 16, 3])]}, 400, "the request holds no image"),
        ({"inputs": [tensor(data=RED, datatype="BOOL")]}, 400, "'image' is BOOL; expected UINT8"),
        ({"inputs": [tensor(data=["?"], datatype="BYTES", shape=[1])]}, 422, "image[0]: no base64"),
        ({"inputs": [tensor(data=["QUJD"], datatype="BYTES", shape=[1])]}, 422, "image[0]: not an image"),
        ({"inputs": [tensor(data=["", ""], datatype="BYTES", shape=[1, 2])]}, 400, "expected [N] or [N, 1]"),
        ({"inputs": [tensor(data=[""] * 10_000, datatype="BYTES", shape=[10_000])]}, 400, "holds 10000 images"),
        ({"inputs": [tensor(data=RED)], "outputs": [{"name": "logits"}]}, 400, "'logits' is none of tiny"),
        ({"inputs": [tensor(data=RED)], "parameters": {"timeout": "1"}}, 400, "timeout is '1'"),
    ],
)  # fmt: skip
def test_bad_requests(client: FlaskClient, body: Any, status: int, reason: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(INFER, data=data)
    if status == 200:
        assert answer.status_code == 200
        return
    told = error(answer)
    assert (told[0], reason in told[1]) == (status, True), told
    assert ask(client).status_code == 200


def test_numbers_in_json_are_bounded(config: ServiceConfig) -> None:
    client = create_app(dataclasses.replace(config, max_request_mb=8)).test_client()
    many = b'{"inputs": [{"data": [' + b"1," * 1_000_000 + b"1]}]}"
    status, message = error(client.post(INFER, data=many))
    assert (status, "values; at most 1,000,000 are taken" in message) == (400, True)


def test_numbers_of_an_answer_in_json_are_bounded(config: ServiceConfig) -> None:
    client = create_app(dataclasses.replace(config, max_values=2)).test_client()
    status, message = error(ask(client))
    assert (status, "the answer has 3 numbers; in JSON at most 2" in message) == (400, True)
    assert ask(client, parameters={"binary_data_output": True}).status_code == 200


def test_time_of_a_request_is_its_own(client: FlaskClient) -> None:
    assert error(ask(client, parameters={"timeout": 1}))[0] == 504
    assert ask(client, parameters={"timeout": 20_000_000}).status_code == 200
    status, message = error(ask(client, parameters={"timeout": 60_000_000}))
    assert (status, message) == (400, "the request asks for 60 s; at most 30 s are granted here.")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/none", 404),
        ("/v2/models/none/infer", 404),
        ("/v2/models/tiny/versions/9/infer", 404),
        ("/v2/models/tiny/versions/x/infer", 400),
        ("/v2/models/tiny/versions/-1/ready", 400),
        ("/v2/models/a%2Fb", 404),
        ("/v2/models/a:b", 404),
        ("/v2/models/%C3%A9", 404),
        ("/v2/models/%00", 404),
        ("/v2/models/tiny/infer/", 404),
        ("/v2/logging", 404),
        ("/v2/", 404),
        ("/v2/models/tiny/config?x=1", 400),
    ],
)
def test_addresses_that_lead_nowhere_say_so_in_the_form_of_the_protocol(
    client: FlaskClient, path: str, status: int
) -> None:
    answer = ask(client, path) if path.endswith("infer") else client.get(path)
    assert error(answer)[0] == status


class TestRepository:
    @pytest.fixture
    def admin(self, config: ServiceConfig, tmp_path: Path, tiny_path: Path) -> FlaskClient:
        """One model is served; a repository has two versions of another."""
        for version in "12":
            (tmp_path / "cats" / version).mkdir(parents=True)
            shutil.copy(tiny_path, tmp_path / "cats" / version / "model.onnx")
        config = dataclasses.replace(config, models=(str(tiny_path),), repository=(str(tmp_path),))
        registry = Registry(config)
        registry.load()
        client = create_app(registry=registry, guard=Guard(Tokens([LINE]))).test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
        return client

    def states(self, client: FlaskClient, **asked: bool) -> list[tuple[str, str, str]]:
        rows = client.post("/v2/repository/index", json=asked).get_json()
        return [(row["name"], row["version"], row["state"]) for row in rows]

    def test_newest_version_is_loaded_and_all_are_unloaded(self, admin: FlaskClient) -> None:
        lying = [("cats", "1", "UNAVAILABLE"), ("cats", "2", "UNAVAILABLE")]
        assert self.states(admin) == [("tiny", "1", "READY"), *lying]
        loaded = admin.post("/v2/repository/models/cats/load", json={})
        assert (loaded.status_code, loaded.data) == (200, b"")
        assert self.states(admin, ready=True) == [("cats", "2", "READY"), ("tiny", "1", "READY")]
        assert ask(admin, "/v2/models/cats/infer").get_json()["model_version"] == "2"
        parameters = {"parameters": {"unload_dependents": False}}
        assert admin.post("/v2/repository/models/cats/unload", json=parameters).status_code == 200
        assert self.states(admin, ready=True) == [("tiny", "1", "READY")]
        assert error(ask(admin, "/v2/models/cats/infer"))[0] == 404

    def test_what_the_service_was_started_with_can_come_back(self, admin: FlaskClient) -> None:
        assert admin.post("/v2/repository/models/tiny/unload").status_code == 200
        assert admin.post("/v2/repository/models/tiny/load").status_code == 200
        assert ask(admin).status_code == 200

    @pytest.mark.parametrize(
        ("url", "body", "status", "reason"),
        [
            ("models/dogs/load", b"", 404, "no model 'dogs' lies in the repository"),
            ("models/dogs/unload", b"", 404, "model 'dogs' is not served here"),
            ("models/cats/load", b'{"parameters": {"config": "{}"}}', 400, "loaded as it lies in its folder"),
            ("models/cats/load", b'{"path": "x"}', 400, "the JSON has another form"),
            ("models/cats/load", b"[", 400, "the body is no JSON"),
            ("models/cats/load", b" " * 70_000, 400, "the body has 70,000 bytes"),
            (
                "models/tiny/unload",
                b'{"parameters": {"force": true}}',
                400,
                "parameters are known by one name",
            ),
            ("index", b"[]", 400, "the JSON has another form; expected an object with ready"),
        ],
    )
    def test_refusals(self, admin: FlaskClient, url: str, body: bytes, status: int, reason: str) -> None:
        told = error(admin.post(f"/v2/repository/{url}", data=body))
        assert (told[0], reason in told[1]) == (status, True), told

    def test_nobody_administers_without_a_token(self, client: FlaskClient) -> None:
        assert error(client.post("/v2/repository/models/tiny/unload"))[0] == 403

"""POST /v1/features: the vectors of `graft features`, as numbers and as base64."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from flask.testing import FlaskClient

from models.card import card_of, write_card
from models.importing import import_model
from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import encoded, photo, plain, tiny_classifier
from tests.models.nets import residual_net
from tests.service.running import Run
from tests.tuned import tuned_classifier, tuned_regression

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
        ("?encoding=pickle", "encoding is 'pickle'; expected one of json, base64."),
        ("?pool=median", "pool is 'median'; expected one of avg, max, none, flatten."),
        ("?normalize=l1", "normalize is 'l1'; expected one of none, l2."),
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


def served(*specs: Path | str) -> FlaskClient:
    """A service with these models, nothing warmed up."""
    config = ServiceConfig(
        tuple(map(str, specs)), runtime=RuntimeConfig(device="cpu", threads=1), measure_s=0.0
    )
    return create_app(config).test_client()


def without_pool(path: Path) -> Path:
    """The same network with no tensor that is called `pool`, and no cut points on its card."""
    model = onnx.load(path)
    card = card_of(model)
    assert card is not None
    model = onnx.parser.parse_model(onnx.printer.to_text(model).replace("pool", "mean"))
    write_card(model, dataclasses.replace(card, cuts=()))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    imported, _ = import_model(residual_net(folder / "net.onnx"))
    onnx.save(imported, folder / "imported.onnx")
    return {
        "graft-mini": "builtin",
        "tuned": str(tuned_classifier(folder)),
        "redness": str(tuned_regression(folder)),
        "imported": str(folder / "imported.onnx"),
        "net": str(folder / "net.onnx"),
        "bare": str(residual_net(folder / "bare.onnx", end="features")),
    }


@pytest.fixture(scope="module")
def all_served(models: dict[str, str]) -> FlaskClient:
    return served(*models.values())


class TestCommandLineAndHttpGiveTheSame:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("graft-mini", {}),
            ("graft-mini", {"cut": "mixed_7"}),
            ("graft-mini", {"cut": "mixed_7", "pool": "max", "normalize": "l2"}),
            ("graft-mini", {"cut": "mixed_7", "pool": "none"}),
            ("graft-mini", {"cut": "logits", "pool": "flatten"}),
            ("tuned", {}),
            ("tuned", {"cut": "embedding", "normalize": "l2"}),
            ("redness", {}),
            ("imported", {}),
            ("net", {}),
            ("net", {"cut": "block", "normalize": "l2"}),
            ("bare", {}),
        ],
    )
    def test_same(
        self,
        graft: Run,
        all_served: FlaskClient,
        models: dict[str, str],
        tmp_path: Path,
        name: str,
        options: dict[str, str],
    ) -> None:
        image = encoded(photo((300, 200)), "JPEG")
        (tmp_path / "photo.jpg").write_bytes(image)
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        out = tmp_path / "out"
        result = graft(
            "features", tmp_path / "photo.jpg", "-m", models[name], "-o", out, "--device", "cpu", *words
        )
        assert result.exit_code == 0, result.output
        (path,) = out.glob("*.npy")
        (expected,) = np.load(path)
        query = {"model": name, "encoding": "base64", **options}
        body = all_served.post(URL, query_string=query, data=image, content_type="image/jpeg").get_json()
        assert path.name == f"part-00000.{body['cut']}.npy"
        (row,) = body["results"]
        values = np.frombuffer(base64.b64decode(row["features"]), "<f4").reshape(row["shape"])
        np.testing.assert_array_equal(values, expected)

    def test_model_without_features_is_refused_by_both(self, graft: Run, tmp_path: Path) -> None:
        """No layer makes its logits: once the service gave those in place of features."""
        path = without_pool(tiny_classifier(tmp_path / "tiny.onnx"))
        (tmp_path / "red.png").write_bytes(plain("red"))
        reason = "no layer that makes its logits was found. Name the cut point to take"
        result = graft("features", tmp_path / "red.png", "-m", path, "-o", tmp_path / "out")
        assert (result.exit_code, reason in result.stderr) == (2, True)
        body = post(served(path))
        assert body["status"] == 400
        assert reason in body["error"]["message"]  # type: ignore[index]


def test_network_with_several_outputs_asks_for_one(tmp_path: Path) -> None:
    model, _ = import_model(residual_net(tmp_path / "net.onnx", end="features"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("block", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    client = served(without_pool(tmp_path / "two.onnx"))
    assert "gives features at out, block; choose one of them" in post(client)["error"]["message"]  # type: ignore[index]
    assert post(client, "?cut=block")["status"] == 200


def test_only_the_last_few_sessions_are_kept(registry: Registry) -> None:
    served = registry.get("tiny")
    first = served.feature_model("pool")
    assert served.feature_model("pool") is first
    for pool in ("avg", "max", "none", "flatten"):
        served.feature_model("logits", pool)
        served.feature_model("logits", pool, "l2")
    assert served.feature_model("pool") is not first

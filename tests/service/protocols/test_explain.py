"""POST /v1/explain: the maps of `graft explain`, as numbers and as a picture, without keeping others waiting."""

from __future__ import annotations

import base64
import dataclasses
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from finetune.explain.gradcam import GradCam
from finetune.heads.assembly import assemble
from models.features import FeatureOptions, feature_graph
from models.importing import as_graft_model
from models.runtime import RuntimeConfig
from service import explaining
from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from tests.fixtures import encoded, photo, plain
from tests.hostile import READABLE
from tests.models.nets import residual_net
from tests.tuned import REDNESS, linear_top

URL = "/v1/explain"
JPEG = {"data": encoded(photo((300, 200)), "JPEG", quality=95), "content_type": "image/jpeg"}


def regression(folder: Path) -> Path:
    """Write a regression over the maps of a network."""
    trunk, _ = as_graft_model(residual_net(folder / "trunk.onnx"))
    pooled = feature_graph(trunk, ("block",), FeatureOptions(("block",)))
    weights = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    model = assemble(pooled, "block", linear_top(weights, regression=True), REDNESS)
    (folder / "redness.onnx").write_bytes(model.SerializeToString())
    return folder / "redness.onnx"


@pytest.fixture(scope="module")
def registry(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "net_labels.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    specs = (
        "builtin",
        residual_net(folder / "net.onnx"),
        tiny_path,
        f"redness={regression(folder)}",
        residual_net(folder / "bare.onnx", end="features"),
    )
    config = ServiceConfig(tuple(map(str, specs)), runtime=RuntimeConfig("cpu", threads=1), measure_s=0.0)
    registry = Registry(config)
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry=registry).test_client()


def refusal(client: FlaskClient, query: str, **request: Any) -> tuple[int, str]:
    response = client.post(URL + query, **(request or JPEG))
    return response.status_code, response.get_json()["error"]["message"]


def picture(client: FlaskClient, query: str = "", **request: Any) -> Image.Image:
    response = client.post(f"{URL}?format=png{query}", **(request or JPEG))
    assert (response.status_code, response.mimetype) == (200, "image/png")
    return Image.open(io.BytesIO(response.data))


def test_numbers_are_those_of_the_command(client: FlaskClient) -> None:
    body = client.post(f"{URL}?top_k=2", **JPEG).get_json()
    expected = GradCam("builtin", device="cpu", threads=1).explain(JPEG["data"], top_k=2)
    assert (body["model"], body["image"], body["size"]) == ("graft-mini", "image", [300, 200])
    assert body["cut"] == expected[0].cut
    assert body["seen"] == pytest.approx(expected[0].box, abs=0.1)
    assert [one["id"] for one in body["classes"]] == [heat.label.id for heat in expected]
    for one, heat in zip(body["classes"], expected, strict=True):
        assert one["probability"] == pytest.approx(heat.probability, rel=1e-5)
        assert one["strength"] == pytest.approx(float(heat.raw.max()), rel=1e-5)
        np.testing.assert_allclose(one["map"], heat.raw / heat.raw.max(), atol=1e-3)
        assert tuple(one["peak"]) == heat.peak


def test_several_classes_are_explained_as_the_command_does(client: FlaskClient) -> None:
    body = client.post(f"{URL}?model=net&class=d&class=a", **JPEG).get_json()
    assert [one["label"] for one in body["classes"]] == ["d", "a"]


def test_peak_and_what_is_seen_lie_on_the_whole_photo(client: FlaskClient) -> None:
    large, small = (client.post(f"{URL}?size={size}", **JPEG).get_json() for size in (2048, 64))
    assert small["seen"] == pytest.approx(large["seen"], abs=0.1)
    assert small["classes"][0]["peak"] == pytest.approx(large["classes"][0]["peak"], abs=1)
    assert small["classes"][0]["map"] == large["classes"][0]["map"]


def test_a_photo_that_exif_turns(client: FlaskClient) -> None:
    turned = READABLE["turned.jpg"][0]()
    body = client.post(URL, data=turned, content_type="image/jpeg").get_json()
    assert body["size"] == [20, 40]
    assert picture(client, data=turned, content_type="image/jpeg").size == (20, 40)


@pytest.mark.parametrize(("stored", "orientation"), [((1000, 1001), 1), ((1001, 1000), 6), ((1000, 1001), 3)])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])  # TIFF is turned by its own decoder
def test_the_size_of_a_photo_that_is_almost_square(
    client: FlaskClient, stored: tuple[int, int], orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(stored), kind, exif=exif)
    body = client.post(f"{URL}?size=64", data=data, content_type="image/jpeg").get_json()
    assert body["size"] == [1000, 1001]


def test_a_class_by_id_or_name(client: FlaskClient) -> None:
    body = client.post(f"{URL}?model=net&class=d", **JPEG).get_json()
    assert [one["label"] for one in body["classes"]] == ["d"]
    status, reason = refusal(client, "?model=net&class=z")
    assert (status, "no class 'z' among its 5" in reason) == (400, True)


def test_a_map_at_an_earlier_cut(client: FlaskClient) -> None:
    body = client.post(f"{URL}?cut=mixed_4", **JPEG).get_json()
    assert body["cut"] == "mixed_4"
    assert len(body["classes"][0]["map"]) > len(client.post(URL, **JPEG).get_json()["classes"][0]["map"])


def test_a_regression_has_a_value(client: FlaskClient) -> None:
    (one,) = client.post(f"{URL}?model=redness", **JPEG).get_json()["classes"]
    assert (one["id"], one["probability"]) == ("value", None)
    assert isinstance(one["value"], float)
    assert refusal(client, "?model=redness&class=red") == (
        400, "redness gives a number, not classes; ask without class."
    )  # fmt: skip


class TestPicture:
    def test_is_as_large_as_asked_for_and_never_larger_than_the_photo(self, client: FlaskClient) -> None:
        assert picture(client).size == (300, 200)
        assert picture(client, "&size=150").size == (150, 100)

    @pytest.mark.parametrize(
        ("accept", "query", "kind"),
        [
            ("image/png", "", "image/png"),
            ("image/*", "", "image/png"),
            ("image/png;q=0.5, application/json", "", "application/json"),
            ("*/*", "", "application/json"),
            ("text/html", "", "application/json"),
            ("image/png", "?format=json", "application/json"),
            ("application/json", "?format=png", "image/png"),
        ],
    )
    def test_what_accept_prefers_unless_it_is_said(
        self, client: FlaskClient, accept: str, query: str, kind: str
    ) -> None:
        response = client.post(URL + query, **JPEG, headers={"Accept": accept})
        assert (response.mimetype, response.headers["Vary"]) == (kind, "Accept")

    def test_shows_one_class(self, client: FlaskClient) -> None:
        status, reason = refusal(client, "?format=png&top_k=2")
        assert (status, "a picture shows one class" in reason) == (400, True)

    def test_differs_by_class(self, client: FlaskClient) -> None:
        pictures = [np.asarray(picture(client, f"&model=net&class={name}")) for name in "ad"]
        assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("?model=bare", 400, "gives features, not classes"),
        ("?model=tiny", 400, "no feature map of more than one pixel"),
        ("?cut=logits", 400, "logits: not a feature map"),
        ("?cut=gone", 400, "gone"),
        ("?class=a&top_k=3", 400, "class names classes, and top_k counts them"),
        ("?" + "&".join(["class=a"] * 21), 400, "class is given 21 times; expected at most 20"),
        ("?class=a&class=b&format=png", 400, "a picture shows one"),
        ("?top_k=21", 400, "top_k is 21; expected a whole number from 1 to 20"),
        ("?format=gif", 400, "format is 'gif'; expected one of json, png"),
        ("?size=9999", 400, "expected a whole number from 64 to 2048"),
        ("?model=gone", 404, "'gone' is not served here"),
    ],
)
def test_what_cannot_be_explained_is_told(client: FlaskClient, query: str, status: int, reason: str) -> None:
    answer = refusal(client, query)
    assert (answer[0], reason in answer[1]) == (status, True), answer


def test_one_image_at_a_time(client: FlaskClient) -> None:
    image = base64.b64encode(plain("red")).decode()
    assert refusal(client, "", json={"images": [image] * 2}) == (
        400, "the request holds 2 images; one at a time is explained."
    )  # fmt: skip


def test_only_the_last_two_networks_are_kept(registry: Registry) -> None:
    served = registry.get("graft-mini")
    first = served.grad_cam("mixed_4")
    assert served.grad_cam("mixed_4") is first
    served.grad_cam("mixed_7")
    served.grad_cam(None)
    assert served.grad_cam("mixed_4") is not first


class TestGate:
    """One is explained at a time; the others wait, are turned away, leave, or run out of time. Nobody else waits."""

    @pytest.fixture
    def gate(self, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
        """Each explanation needs a permit of it; `begun` is released by each that begins."""
        permits, self.begun = threading.Semaphore(0), threading.Semaphore(0)
        run = explaining._explain

        def explain(*arguments: Any) -> Any:
            self.begun.release()
            assert permits.acquire(timeout=20)
            return run(*arguments)

        monkeypatch.setattr(explaining, "_explain", explain)
        gate = explaining.Explaining(1)
        monkeypatch.setattr(registry, "explaining", gate)
        yield permits
        permits.release(10)
        gate.close()

    def ask(self, client: FlaskClient, query: str = "") -> tuple[threading.Thread, list[int]]:
        """Ask in a thread: the status comes into the list."""
        statuses: list[int] = []
        other = client.application.test_client()
        thread = threading.Thread(target=lambda: statuses.append(other.post(URL + query, **JPEG).status_code))
        thread.start()
        return thread, statuses

    def test_full_gate_turns_away_and_classify_goes_on(
        self, client: FlaskClient, registry: Registry, gate: threading.Semaphore
    ) -> None:
        first, answered = self.ask(client)
        assert self.begun.acquire(timeout=60)
        batcher = registry.explaining._batcher
        assert batcher is not None
        waiting = batcher.submit(["somebody's"], "somebody")
        response = client.post(URL, **JPEG)
        assert (response.status_code, int(response.headers["Retry-After"]) >= 1) == (429, True)
        assert client.post("/v1/classify", **JPEG).status_code == 200
        waiting.cancel()
        gate.release()
        first.join(60)
        assert answered == [200]

    def test_too_late_is_not_begun(self, client: FlaskClient, gate: threading.Semaphore) -> None:
        first, answered = self.ask(client)
        assert self.begun.acquire(timeout=60)
        assert refusal(client, "?timeout_ms=200")[0] == 504
        gate.release(1)
        first.join(60)
        assert answered == [200]
        assert not self.begun.acquire(blocking=False)


def test_a_model_that_is_not_served_any_more_is_freed(tiny_path: Path) -> None:
    """The thread that explains must hold nothing of the last one."""
    import gc
    import weakref

    config = ServiceConfig(("builtin",), runtime=RuntimeConfig("cpu", threads=1), measure_s=0.0)
    registry = Registry(dataclasses.replace(config, models=("builtin", f"tiny={tiny_path}")))
    registry.load()
    client = create_app(registry=registry).test_client()
    assert client.post(URL, **JPEG).status_code == 200
    served = weakref.ref(registry.get("graft-mini"))
    registry.unload("graft-mini")
    for thread in threading.enumerate():
        if thread.name == "graft-retire":
            thread.join(60)
    gc.collect()
    assert served() is None
    registry.close()

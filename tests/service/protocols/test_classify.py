"""POST /v1/classify: three ways to send images, and everything that may be wrong with them."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.errors import CancelledError, DeadlineError, OverloadedError
from models.model import Model
from models.preprocessing import Preprocessing
from service.app import create_app
from service.config import ServiceConfig
from service.front.wsgi import GONE, ClientGone
from service.registry import Registry
from tests.fixtures import COLOURS, encoded, photo, plain
from tests.hostile import READABLE, REFUSED
from tests.service.running import Run

URL = "/v1/classify"


def form(*files: tuple[str, bytes]) -> dict[str, Any]:
    """Arguments of a post of a form with these files."""
    parts = [(io.BytesIO(data), name) for name, data in files]
    return {"data": {"image": parts}, "content_type": "multipart/form-data"}


def base64_json(*files: bytes, prefix: str = "") -> dict[str, Any]:
    return {"json": {"images": [prefix + base64.b64encode(data).decode() for data in files]}}


def labels(body: dict[str, Any]) -> list[str]:
    """The best label of each image, or the type of its error."""
    return [
        row["predictions"][0]["label"] if "predictions" in row else row["error"]["type"]
        for row in body["results"]
    ]


class TestWaysIn:
    def test_form_with_several_files_of_one_field(self, client: FlaskClient) -> None:
        response = client.post(URL, **form(*((f"{name}.png", plain(name)) for name in COLOURS)))
        assert response.status_code == 200
        body = response.get_json()
        assert (body["model"], labels(body)) == ("tiny", list(COLOURS))
        assert [row["image"] for row in body["results"]] == ["red.png", "green.png", "blue.png"]

    @pytest.mark.parametrize(
        "kind",
        ["image/png", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", None],
    )
    def test_bare_bytes(self, client: FlaskClient, kind: str | None) -> None:
        response = client.post(URL, data=plain("green"), content_type=kind)
        assert labels(response.get_json()) == ["green"]

    @pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
    def test_base64_in_json(self, client: FlaskClient, prefix: str) -> None:
        response = client.post(URL, **base64_json(plain("blue"), plain("red"), prefix=prefix))
        assert labels(response.get_json()) == ["blue", "red"]

    def test_base64_with_line_breaks(self, client: FlaskClient) -> None:
        text = base64.encodebytes(plain("blue")).decode()
        assert labels(client.post(URL, json={"images": [text]}).get_json()) == ["blue"]

    def test_answer_has_all_that_is_known_of_a_class(self, client: FlaskClient) -> None:
        body = client.post(f"{URL}?top_k=1", data=plain("red"), content_type="image/png").get_json()
        assert body == {
            "model": "tiny",
            "results": [
                {"image": "image", "predictions": [{"id": "c0", "label": "red", "probability": 0.9999092}]}
            ],
        }

    @pytest.mark.parametrize(
        ("query", "name"), [("", "tiny"), ("?model=tiny", "tiny"), ("?model=other", "other")]
    )
    def test_model_is_chosen_by_name(self, client: FlaskClient, query: str, name: str) -> None:
        response = client.post(URL + query, data=plain("red"), content_type="image/png")
        assert response.get_json()["model"] == name

    def test_command_line_and_http_give_the_same(
        self, client: FlaskClient, graft: Run, tiny_path: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "photo.jpg"
        path.write_bytes(encoded(photo((400, 300)), "JPEG"))
        printed = json.loads(graft("classify", "-m", tiny_path, path, "--json", "--device", "cpu").stdout)
        received = client.post(URL, **form(("photo.jpg", path.read_bytes()))).get_json()["results"][0]
        assert received["predictions"] == printed["predictions"]


class TestBadImages:
    def test_each_is_reported_in_its_place_and_the_others_answered(self, client: FlaskClient) -> None:
        files = {name: data() for name, (data, _) in {**REFUSED, **READABLE}.items()}
        response = client.post(URL, **form(*files.items()))
        assert response.status_code == 200
        rows = {row["image"]: row for row in response.get_json()["results"]}
        assert {name for name, row in rows.items() if "predictions" in row} == set(READABLE)
        assert {name for name, row in rows.items() if "error" in row} == set(REFUSED)
        assert rows["truncated.jpg"]["error"] == {
            "type": "ImageError",
            "message": "truncated.jpg: the image is cut off before its end. Copy or download it again.",
        }

    @pytest.mark.parametrize("name", REFUSED)
    def test_alone_is_status_422(self, client: FlaskClient, name: str) -> None:
        response = client.post(URL, **form((name, REFUSED[name][0]())))
        assert response.status_code == 422
        body = response.get_json()
        assert body["error"]["type"] == "ImageError"
        assert labels(body) == ["ImageError"]

    def test_what_is_no_base64_is_a_bad_image_too(self, client: FlaskClient) -> None:
        good = base64.b64encode(plain("red")).decode()
        items = ["%%%", "data:image/png", 5, None, ["x"], "é", "AAA", good]
        body = client.post(URL, json={"images": items}).get_json()
        assert labels(body) == ["ImageError"] * 7 + ["red"]
        reason = body["results"][2]["error"]["message"]
        assert reason.startswith("images[2]: int; expected an image file as base64 text")


class TestBadRequests:
    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("top_k=-1", "top_k is -1; expected a whole number from 1."),
            ("top_k=0", "expected a whole number from 1."),
            ("top_k=NaN", "top_k is 'NaN'; expected a whole number"),
            ("top_k=1e3", "expected a whole number"),
            ("top_k=", "expected a whole number"),
            ("top_k=" + "9" * 5000, "expected a whole number"),
            ("topk=3", "parameter 'topk' is not known; expected version, label, model, timeout_ms, top_k."),
        ],
    )
    def test_parameters(self, client: FlaskClient, query: str, reason: str) -> None:
        response = client.post(f"{URL}?{query}", data=plain("red"), content_type="image/png")
        assert response.status_code == 400
        assert reason in response.get_json()["error"]["message"]

    def test_enormous_top_k_gives_all_classes(self, client: FlaskClient) -> None:
        response = client.post(f"{URL}?top_k={10**30}", data=plain("red"), content_type="image/png")
        assert len(response.get_json()["results"][0]["predictions"]) == 3

    @pytest.mark.parametrize("name", ["", "tinny", "../../etc/passwd", "inception_v3", "a" * 5000, "\x00"])
    def test_unknown_model(self, client: FlaskClient, name: str) -> None:
        response = client.post(URL, query_string={"model": name}, data=plain("red"), content_type="image/png")
        assert response.status_code == 404
        error = response.get_json()["error"]
        assert error["type"] == "UnknownModelError"
        assert "is not served here; there is tiny, other." in error["message"]

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[]", b"null", b"NaN", b'{"images": NaN}', b'{"images": "x"}', b'{"image": []}',
            b'{"images": [], "top_k": 3}', b"[" * 100_000, b"\xff\xfe", b'{"images": []}',
        ],
    )  # fmt: skip
    def test_json(self, client: FlaskClient, body: bytes) -> None:
        response = client.post(URL, data=body, content_type="application/json")
        assert response.status_code == 400
        assert response.get_json()["error"]["type"] == "InputError"
        assert '"images"' in response.get_json()["error"]["message"]

    # Werkzeug leaves the file of a part that never ends to the garbage collector.
    @pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile", "ignore:Unclosed file:ResourceWarning")
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"--x\r\nbroken",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nno end',
            b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n3\r\n--x--\r\n',
        ],
        ids=["empty", "broken", "no end", "no file"],
    )
    def test_form(self, client: FlaskClient, body: bytes) -> None:
        response = client.post(URL, data=body, content_type="multipart/form-data; boundary=x")
        assert response.status_code == 400
        assert response.get_json()["error"]["type"] == "InputError"

    def test_form_without_a_boundary(self, client: FlaskClient) -> None:
        assert client.post(URL, data=plain("red"), content_type="multipart/form-data").status_code == 400

    def test_no_body(self, client: FlaskClient) -> None:
        response = client.post(URL, content_type="image/png")
        assert response.status_code == 400
        assert "the request has no body; expected an image" in response.get_json()["error"]["message"]

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "video/mp4", "application/json5"])
    def test_other_content_type(self, client: FlaskClient, kind: str) -> None:
        response = client.post(URL, data=plain("red"), content_type=kind)
        assert response.status_code == 415
        assert (
            f"the content type is '{kind}'; expected multipart/form-data"
            in response.get_json()["error"]["message"]
        )

    def test_too_many_images(self, client: FlaskClient) -> None:
        response = client.post(URL, **base64_json(*[plain("red")] * 41))
        assert response.status_code == 400
        assert "holds 41 images; at most 40 go together" in response.get_json()["error"]["message"]
        assert client.post(URL, **base64_json(*[plain("red")] * 40)).status_code == 200

    @pytest.mark.parametrize("kind", ["image/png", "application/json", "multipart/form-data; boundary=x"])
    def test_too_many_bytes(self, client: FlaskClient, kind: str) -> None:
        response = client.post(URL, data=bytes((1 << 20) + 1), content_type=kind)
        assert response.status_code == 413
        assert response.get_json()["error"]["type"] == "RequestEntityTooLarge"

    def test_huge_base64_of_no_image(self, client: FlaskClient) -> None:
        response = client.post(
            URL, data=json.dumps({"images": ["A" * 1_000_000]}), content_type="application/json"
        )
        assert response.status_code == 422


class TestCompany:
    def test_concurrent_requests_get_their_own_answers(self, registry: Registry, client: FlaskClient) -> None:
        names = list(COLOURS) * 20

        def ask(name: str) -> str:
            response = client.application.test_client().post(URL, data=plain(name), content_type="image/png")
            return labels(response.get_json())[0]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, names)) == names

    def test_full_queue_turns_away_with_retry_after(self, config: ServiceConfig) -> None:
        registry = Registry(dataclasses.replace(config, max_queued=1))
        registry.load()
        client = create_app(registry=registry).test_client()
        two = form(("1.png", plain("red")), ("2.png", plain("red")))
        response = client.post(URL, **two)
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert response.get_json()["error"]["type"] == OverloadedError.__name__
        assert client.post(URL, data=plain("red"), content_type="image/png").status_code == 200
        registry.close()

    def test_too_late_is_504_and_runs_nothing(
        self, config: ServiceConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = Registry(dataclasses.replace(config, timeout_s=0.0))
        registry.load()
        monkeypatch.setattr(Model, "run", lambda *_: pytest.fail("run for nobody"))
        response = create_app(registry=registry).test_client().post(
            URL, data=plain("red"), content_type="image/png"
        )  # fmt: skip
        assert (response.status_code, response.get_json()["error"]["type"]) == (504, DeadlineError.__name__)
        registry.close()

    def test_who_has_left_is_not_worked_for(
        self, registry: Registry, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = ClientGone()
        gone.set()
        monkeypatch.setattr(Preprocessing, "load", lambda *_, **__: pytest.fail("decoded for nobody"))
        response = client.post(URL, data=plain("red"), content_type="image/png", environ_base={GONE: gone})
        assert (response.status_code, response.get_json()["error"]["type"]) == (499, CancelledError.__name__)

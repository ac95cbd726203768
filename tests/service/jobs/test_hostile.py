"""Photos that are none, requests that make no sense, and a workspace without room."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from service.app import create_app
from service.jobs.teaching import Teaching
from service.jobs.workspace import folder_bytes
from service.registry import Registry
from tests.fixtures import encoded, png_bomb
from tests.service.jobs.conftest import class_folders, snapshot, workspace_config, zipped

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
VIDEO = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100)


@pytest.fixture
def empty(client: FlaskClient) -> str:
    return str(client.post("/v1/datasets", json={}).get_json()["id"])


@pytest.mark.parametrize(
    ("data", "kind", "status", "message"),
    [
        (HEIC, "image/heic", 422, "a HEIF photo"),
        (VIDEO, "image/jpeg", 422, "not an image"),
        (VIDEO, "video/mp4", 415, "the content type is 'video/mp4'"),
        (b"Dear diary", "text/plain", 415, "the content type is 'text/plain'"),
        (b"Dear diary", "image/jpeg", 422, "not an image"),
        (b"", "image/jpeg", 400, "the request has no body"),
        (png_bomb(), "image/png", 422, "at most 178,956,970 pixels are decoded"),
        (snapshot("red", 1)[:2000], "image/jpeg", 422, "image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "image/svg+xml", 422, "not an image"),
    ],
)
def test_what_is_no_photo_is_refused_in_a_sentence(
    client: FlaskClient, empty: str, data: bytes, kind: str, status: int, message: str
) -> None:
    answer = client.post(f"/v1/datasets/{empty}/images?class=a", data=data, content_type=kind)
    assert answer.status_code == status
    assert message in answer.get_json()["error"]["message"]
    assert client.get(f"/v1/datasets/{empty}").get_json()["images"] == 0


def test_a_photo_of_50_megapixels_is_taken_and_one_of_more_is_not(client: FlaskClient, empty: str) -> None:
    for size, status in (((8160, 6120), 201), ((8192, 6144), 422)):
        data = encoded(Image.new("L", size, 128), "JPEG", quality=30)
        answer = client.post(f"/v1/datasets/{empty}/images?class=a", data=data, content_type="image/jpeg")
        assert answer.status_code == status
    assert "8,192 x 6,144 pixels; this service takes photos of at most 50 megapixels" in answer.text
    (one,) = client.get(f"/v1/datasets/{empty}/images").get_json()["images"]
    small = client.get(f"/v1/datasets/{empty}/images/{one['id']}/thumbnail")
    assert Image.open(io.BytesIO(small.data)).size == (160, 120)


def test_ten_thousand_classes_are_too_many(client: FlaskClient, teaching: Teaching, empty: str) -> None:
    with teaching.workspace.database.writing() as records:
        records.executemany(
            "INSERT INTO classes VALUES (?, ?, ?)", [(f"c{i}", empty, f"class {i}") for i in range(999)]
        )
    assert client.post(f"/v1/datasets/{empty}/classes", json={"name": "last"}).status_code == 201
    answer = client.post(f"/v1/datasets/{empty}/classes", json={"name": "more"})
    assert answer.status_code == 400
    assert "has 1,000 classes, as many as may be taught here" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1]", "the body is no object"),
        (b"{", "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b'{"nme": "x"}', "the field 'nme' is not known; expected a JSON object with folder, name"),
        (b'{"name": 3}', "name is 3; expected text"),
        (b"[" * 100_000, "the body is no JSON"),
    ],
)
def test_json_that_makes_no_sense(client: FlaskClient, body: bytes, message: str) -> None:
    answer = client.post("/v1/datasets", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]["message"]


def test_two_browsers_at_once_lose_nothing(client: FlaskClient, teaching: Teaching, empty: str) -> None:
    failures = list[str]()

    def send(first: int) -> None:
        mine = client.application.test_client()
        for i in range(first, first + 10):
            answer = mine.post(
                f"/v1/datasets/{empty}/images?class=c{i % 3}",
                data=snapshot("red", i),
                content_type="image/jpeg",
            )
            if answer.status_code != 201:
                failures.append(answer.text)

    threads = [threading.Thread(target=send, args=(100 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    told = client.get(f"/v1/datasets/{empty}").get_json()
    assert sum(one["count"] for one in told["classes"]) == told["images"] == 30
    assert sorted(one["name"] for one in told["classes"]) == ["c0", "c1", "c2"]


@pytest.fixture
def cramped(tiny_path: Path, tmp_path: Path) -> Iterator[FlaskClient]:
    """A service whose workspace may hold 200 kB."""
    registry = Registry(workspace_config(tiny_path, tmp_path / "workspace", disk_limit_gb=0.0002))
    registry.load()
    teaching = Teaching(registry, tmp_path / "workspace")
    yield create_app(registry=registry, teaching=teaching).test_client()
    teaching.close()
    registry.close()


def test_what_does_not_fit_is_refused_and_leaves_nothing(cramped: FlaskClient, tmp_path: Path) -> None:
    known = cramped.post("/v1/datasets", json={}).get_json()["id"]
    photo = snapshot("red", 1, (640, 480))
    statuses = [
        cramped.post(
            f"/v1/datasets/{known}/images?class=a", data=photo, content_type="image/jpeg"
        ).status_code
        for _ in range(4)
    ]
    assert statuses[-1] == 507
    archive = cramped.post("/v1/datasets", data=zipped(class_folders(60)), content_type="application/zip")
    assert (archive.status_code, archive.get_json()["error"]["type"]) == (507, "FullError")
    assert "do not fit: the workspace holds" in archive.get_json()["error"]["message"]
    assert [one["id"] for one in cramped.get("/v1/datasets").get_json()["datasets"]] == [known]
    assert list((tmp_path / "workspace" / "incoming").iterdir()) == []


def test_half_written_uploads_vanish_when_a_service_starts_again(tiny_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    registry = Registry(workspace_config(tiny_path, folder))
    registry.load()
    teaching = Teaching(registry, folder)
    kept = teaching.datasets.create("kept")
    taken_in = teaching.datasets.create("half", ready=False)
    teaching.datasets.class_id(taken_in, "red", make=True)
    (folder / "incoming" / "abc.zip").write_bytes(b"PK")
    (folder / "datasets" / kept / "unknown.jpg").write_bytes(b"x")
    (folder / "datasets" / "nobody").mkdir()
    (folder / "jobs" / "nobody").mkdir()
    teaching.close()
    again = Teaching(registry, folder)
    assert [row["id"] for row in again.datasets.rows()] == [kept]
    left = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
    assert left == [f"datasets/{kept}"]
    assert list((folder / "datasets" / kept).iterdir()) == []
    again.close()
    registry.close()


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(bytes(1000))
    (tmp_path / "two").hardlink_to(tmp_path / "a" / "one")
    assert folder_bytes(tmp_path) == 1000


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("DELETE", "/v1/jobs/x/promotions/m/9223372036854775808", "version is 9223372036854775808; expected"),
        (
            "GET",
            "/v1/datasets/{}/images?offset=9223372036854775808",
            "offset is 9223372036854775808; expected",
        ),
        ("GET", "/v1/datasets/{}/images?limit=1001", "limit is 1001; expected a whole number from 1 to 1000"),
        (
            "GET",
            "/v1/datasets/{}/images/x/thumbnail?size=0",
            "size is 0; expected a whole number from 1 to 640",
        ),
    ],
)
def test_numbers_that_are_too_large(
    client: FlaskClient, empty: str, method: str, path: str, message: str
) -> None:
    answer = client.open(path.format(empty), method=method)
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]["message"]

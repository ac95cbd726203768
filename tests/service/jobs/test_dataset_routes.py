"""Datasets over HTTP: made whole or photo by photo, looked at, mended, deleted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image

from service.jobs.teaching import Teaching
from tests.fixtures import encoded, plain
from tests.service.jobs.conftest import class_folders, snapshot, zipped


def test_an_archive_of_class_folders_becomes_a_dataset(client: FlaskClient, dataset: str) -> None:
    told = client.get(f"/v1/datasets/{dataset}").get_json()
    assert (told["name"], told["images"]) == ("colours", 6)
    assert [(one["name"], one["count"]) for one in told["classes"]] == [("blue", 3), ("red", 3)]
    assert told["warnings_revision"] == told["revision"]
    assert {one["kind"] for one in told["warnings"]} >= {"few"}
    assert [one["id"] for one in client.get("/v1/datasets").get_json()["datasets"]] == [dataset]


def test_photos_come_one_by_one_and_a_bad_one_harms_no_other(client: FlaskClient) -> None:
    made = client.post("/v1/datasets", json={"name": "mine"})
    assert made.status_code == 201
    known = made.get_json()["id"]
    files = [(io.BytesIO(snapshot("red", 1)), "a/b/Good one.jpg"), (io.BytesIO(b"no photo"), "text.jpg")]
    answer = client.post(f"/v1/datasets/{known}/images?class=Ünß", data={"image": files})
    assert answer.status_code == 201
    good, bad = answer.get_json()["images"]
    assert (good["class"], good["width"], good["height"]) == ("Ünß", 160, 120)
    assert bad["name"] == "text.jpg"
    assert bad["error"]["type"] == "ImageError"
    (listed,) = client.get(f"/v1/datasets/{known}/images").get_json()["images"]
    assert (listed["id"], listed["name"], listed["class"]) == (good["id"], "Good one.jpg", "Ünß")
    nothing = client.post(f"/v1/datasets/{known}/images?class=x", data=b"text", content_type="image/png")
    assert nothing.status_code == 422
    assert nothing.get_json()["images"][0]["error"]["type"] == "ImageError"


@pytest.mark.parametrize(
    "name",
    ["<img src=x onerror=alert(1)>", "../../etc", "a/b:c", "שלום", "CON", "x" * 120, "🐈 & 'Ö\"; DROP"],
)
def test_a_class_may_be_called_anything(client: FlaskClient, teaching: Teaching, name: str) -> None:
    known = client.post("/v1/datasets", json={}).get_json()["id"]
    made = client.post(f"/v1/datasets/{known}/classes", json={"name": name})
    assert made.status_code == 201
    answer = client.post(
        f"/v1/datasets/{known}/images",
        query_string={"class": name},
        data=plain("red"),
        content_type="image/png",
    )
    assert answer.status_code == 201
    (one,) = client.get(f"/v1/datasets/{known}").get_json()["classes"]
    assert (one["name"], one["count"]) == (name, 1)
    (file,) = (teaching.workspace.folder / "datasets" / known).iterdir()
    assert file.stem == answer.get_json()["images"][0]["id"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "two\nlines", "\u202egnp.exe", "\0"])
def test_a_name_that_nobody_can_read_is_none(client: FlaskClient, name: str) -> None:
    known = client.post("/v1/datasets", json={}).get_json()["id"]
    answer = client.post(f"/v1/datasets/{known}/classes", json={"name": name})
    assert (answer.status_code, answer.get_json()["error"]["type"]) == (400, "InputError")
    assert "expected 1 to 120 signs, in one line, that can be seen" in answer.get_json()["error"]["message"]


def test_classes_are_renamed_and_deleted(client: FlaskClient, teaching: Teaching, dataset: str) -> None:
    blue, red = client.get(f"/v1/datasets/{dataset}").get_json()["classes"]
    taken = client.patch(f"/v1/datasets/{dataset}/classes/{red['id']}", json={"name": "blue"})
    assert taken.status_code == 409
    renamed = client.patch(f"/v1/datasets/{dataset}/classes/{red['id']}", json={"name": "rot"})
    assert [one["name"] for one in renamed.get_json()["classes"]] == ["blue", "rot"]
    left = client.delete(f"/v1/datasets/{dataset}/classes/{blue['id']}").get_json()
    assert [(one["name"], one["count"]) for one in left["classes"]] == [("rot", 3)]
    assert len(list(teaching.workspace.photos(dataset).iterdir())) == 3
    assert client.delete(f"/v1/datasets/{dataset}/classes/{blue['id']}").status_code == 404


def test_images_are_relabelled_and_deleted(client: FlaskClient, teaching: Teaching, dataset: str) -> None:
    images = client.get(f"/v1/datasets/{dataset}/images?class=blue&limit=2").get_json()
    assert (len(images["images"]), images["total"]) == (2, 3)
    path = f"/v1/datasets/{dataset}/images/{images['images'][0]['id']}"
    assert client.patch(path, json={"class": "red"}).get_json()["class"] == "red"
    assert client.get(f"/v1/datasets/{dataset}/images?class=red").get_json()["total"] == 4
    assert client.delete(path).status_code == 200
    assert client.get(path).status_code == 404
    assert len(list(teaching.workspace.photos(dataset).iterdir())) == 5


def test_bytes_and_small_versions_are_given_and_remembered(client: FlaskClient, dataset: str) -> None:
    (one, *_) = client.get(f"/v1/datasets/{dataset}/images?class=red").get_json()["images"]
    path = f"/v1/datasets/{dataset}/images/{one['id']}"
    whole = client.get(path)
    assert (whole.data, whole.content_type) == (snapshot("red", 1000), "image/jpeg")
    small = client.get(f"{path}/thumbnail?size=100")
    assert Image.open(io.BytesIO(small.data)).size == (160, 120)
    assert "immutable" in small.headers["Cache-Control"]
    again = client.get(f"{path}/thumbnail?size=100", headers={"If-None-Match": small.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_folder_of_the_machine_stays_where_it_is(client: FlaskClient, tmp_path: Path) -> None:
    for name, data in class_folders(2).items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    answer = client.post("/v1/datasets", json={"folder": "photos"})
    assert (answer.status_code, answer.get_json()["name"]) == (201, "photos")
    known = answer.get_json()["id"]
    images = client.get(f"/v1/datasets/{known}/images").get_json()["images"]
    assert client.get(f"/v1/datasets/{known}/images/{images[0]['id']}").status_code == 200
    assert client.delete(f"/v1/datasets/{known}").status_code == 200
    assert len(list((tmp_path / "photos").rglob("*.jpg"))) == 4


@pytest.mark.parametrize("folder", ["..", "/etc", "photos/../..", "nothing", "\0"])
def test_no_other_folder_is_looked_into(client: FlaskClient, tmp_path: Path, folder: str) -> None:
    (tmp_path / "photos").mkdir()
    answer = client.post("/v1/datasets", json={"folder": folder})
    assert answer.status_code == 400
    assert "no folder and no zip archive below" in answer.get_json()["error"]["message"]


def test_a_link_that_leads_out_of_the_root_is_left_out(
    client: FlaskClient, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.jpg"
    elsewhere.write_bytes(snapshot("red", 5))
    for name, data in class_folders(2).items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    (tmp_path / "photos" / "red" / "link.jpg").symlink_to(elsewhere)
    told = client.post("/v1/datasets", json={"folder": "photos"}).get_json()
    assert told["images"] == 4
    assert any("a link that leads out" in one["message"] for one in told["warnings"])


def test_copies_conflicts_and_flaws_are_told(client: FlaskClient) -> None:
    known = client.post("/v1/datasets", json={}).get_json()["id"]
    same, other = snapshot("red", 1), snapshot("red", 2, (320, 240))
    near = encoded(Image.open(io.BytesIO(other)).resize((300, 225)), "JPEG", quality=70)
    for name, data in (
        ("a", same),
        ("a", other),
        ("a", near),
        ("b", same),
        ("b", plain((9, 9, 9), (64, 64))),
    ):
        client.post(f"/v1/datasets/{known}/images?class={name}", data=data, content_type="image/jpeg")
    told = {one["kind"]: one for one in client.get(f"/v1/datasets/{known}").get_json()["warnings"]}
    assert {"conflict", "near_duplicates", "exact_duplicates", "one_colour", "few"} <= set(told)
    assert "1 photo in more than one class" in told["conflict"]["message"]
    images = client.get(f"/v1/datasets/{known}/images").get_json()["images"]
    assert [one["flags"] for one in images] == [
        ["conflict"], ["duplicate"], ["duplicate"], ["conflict"], ["one colour"]
    ]  # fmt: skip
    assert [one["duplicate_of"] for one in images] == [None, None, images[1]["id"], images[0]["id"], None]


def test_what_is_not_there_is_404(client: FlaskClient, dataset: str) -> None:
    for path in ("/v1/datasets/none", f"/v1/datasets/{dataset}/images/none", "/v1/datasets/none/images"):
        assert (client.get(path).status_code, client.get(path).get_json()["error"]["type"]) == (
            404,
            "MissingError",
        )


def test_an_archive_in_pieces_is_taken_as_it_is(client: FlaskClient) -> None:
    stream = io.BytesIO(zipped(class_folders(2)))
    answer = client.post("/v1/datasets", input_stream=stream, content_type="application/zip")
    assert answer.status_code == 201


def test_what_is_sent_again_is_not_taken_twice(client: FlaskClient, dataset: str) -> None:
    def send(query: str, name: str = "new.jpg") -> str:
        answer = client.post(
            f"/v1/datasets/{dataset}/images?class=red{query}",
            data={"image": (io.BytesIO(snapshot("red", 77)), name)},
        )
        assert answer.status_code == 201
        return str(answer.get_json()["images"][0]["id"])

    first = send("&again=true")
    assert send("&again=true") == first
    assert send("&again=true", "other.jpg") != first
    assert send("") != first  # a copy that somebody adds is a copy, and is warned about
    assert client.get(f"/v1/datasets/{dataset}").get_json()["images"] == 9

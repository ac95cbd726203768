"""Archives that are not what they should be: refused in a sentence, and nothing of them stays."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from models.errors import InputError
from service.jobs.intake import check_archive
from service.jobs.teaching import Teaching
from tests.finetune.dataset.samples import mnist
from tests.fixtures import plain, png_bomb
from tests.service.jobs.conftest import class_folders, snapshot, zipped


def climbing() -> bytes:
    return zipped({**class_folders(1), "../../outside.jpg": snapshot("red", 1)})


def absolute() -> bytes:
    return zipped({**class_folders(1), "/etc/cron.d/x.jpg": snapshot("red", 1)})


def of_windows() -> bytes:
    return zipped({**class_folders(1), "C:\\x\\y.jpg": snapshot("red", 1)})


def linking() -> bytes:
    stream = io.BytesIO(zipped(class_folders(1)))
    with zipfile.ZipFile(stream, "a") as archive:
        link = zipfile.ZipInfo("red/passwd.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def exploding() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"red/{i}.jpg", bytes(50 << 20))
    return stream.getvalue()


def lying() -> bytes:
    """Says that it holds a hundred million entries."""
    data = bytearray(zipped(class_folders(1)))
    place = data.rfind(b"PK\5\6")
    data[place + 12 : place + 16] = struct.pack("<I", 0xFFFFFFFF)
    large = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 10**8, 10**8, 0, 0)
    return bytes(data[:place]) + large + bytes(data[place:])


def cut() -> bytes:
    return zipped(class_folders(2))[:-400]


def damaged() -> bytes:
    return zipped(class_folders(2)).replace(b"PK\1\2", b"PK\1\3")


def of_many_classes() -> bytes:
    small = plain("red", (8, 8))
    return zipped({f"class {i}/a.png": small for i in range(10_000)})


def of_one_class() -> bytes:
    return zipped({"red/1.jpg": snapshot("red", 1)})


def without_classes() -> bytes:
    return zipped({"1.jpg": snapshot("red", 1), "notes.txt": b"hello"})


def without_photos() -> bytes:
    return zipped({f"{name}/{i}.jpg": b"text" for name in "ab" for i in range(2)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (climbing, "'../../outside.jpg', a path that leads out of it. Nothing of it was taken"),
        (absolute, "'/etc/cron.d/x.jpg', a path that leads out of it"),
        (of_windows, "a path that leads out of it"),
        (linking, "'red/passwd.jpg', a link. Nothing of it was taken"),
        (exploding, "no archive of photos is packed like that. Nothing of it was taken"),
        (lying, "the archive has 100,000,000 entries; at most 300,000 are looked at"),
        (cut, "the body is no zip archive, or its end is missing"),
        (lambda: b"", "the body is no zip archive, or its end is missing"),
        (lambda: b"PK\5\6" * 10_000, "the body is no zip archive, or its end is missing"),
        (damaged, "the archive cannot be read as a zip"),
        (of_many_classes, "10,000 classes; at most 1,000 are taught here"),
        (of_one_class, "the archive: one class only, 'red'"),
        (
            without_classes,
            "the archive: no labelled image in it; found 1 images outside of folders of classes",
        ),
        (without_photos, "not one of 4 images can be read. The first:"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)
def test_what_is_no_archive_of_class_folders_leaves_nothing(
    client: FlaskClient, teaching: Teaching, make: Callable[[], bytes], message: str
) -> None:
    answer = client.post("/v1/datasets", data=make(), content_type="application/zip")
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]["message"]
    assert str(teaching.workspace.folder) not in answer.text
    assert client.get("/v1/datasets").get_json() == {"datasets": []}
    for folder in ("datasets", "incoming"):
        assert list((teaching.workspace.folder / folder).iterdir()) == []


def test_what_lies_between_photos_is_passed_over_as_by_finetune(client: FlaskClient) -> None:
    members = {
        **class_folders(2),
        "__MACOSX/red/._0.jpg": b"x", "red/.DS_Store": b"x", "Thumbs.db": b"x", "red/notes.txt": b"x",
        "blue/inner.zip": zipped(class_folders(1)), "red/clip.mp4": b"x", "loose.jpg": snapshot("red", 9),
        "red/video.jpg": b"\0\0\0\x20ftypisom" + bytes(100), "red/bomb.png": png_bomb(),
        "blue/photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    }  # fmt: skip
    told = client.post("/v1/datasets", data=zipped(members), content_type="application/zip").get_json()
    assert [(one["name"], one["count"]) for one in told["classes"]] == [("blue", 2), ("red", 2)]
    messages = "\n".join(one["message"] for one in told["warnings"])
    assert "left out, because it cannot be read: 1 image, red/bomb.png: " in messages
    assert "at most 178,956,970 pixels are decoded" in messages
    assert "left out, because it cannot be read: 1 image, red/video.jpg: " in messages
    assert "left out, because it cannot be read: 1 image, blue/photo.heic: " in messages
    assert "1 images outside the classes' folders are not used, such as the archive/loose.jpg" in messages
    assert "3 other files (1 .zip, 1 .mp4, 1 .txt) passed over" in messages


def test_photos_that_cannot_be_read_for_one_reason_are_told_of_together(client: FlaskClient) -> None:
    members = {**class_folders(2), **{f"red/broken-{i}.jpg": b"text" for i in range(7)}}
    told = client.post("/v1/datasets", data=zipped(members), content_type="application/zip").get_json()
    (remark,) = (one["message"] for one in told["warnings"] if one["kind"] == "unreadable")
    assert remark.startswith("left out, because it cannot be read: 7 images, red/broken-0.jpg, ")
    assert remark.count("not an image that can be read") == 1


def test_pixels_that_are_no_photos_are_refused_in_a_sentence(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    mnist(tmp_path / "digits", "train", 6)
    answer = client.post("/v1/datasets", json={"folder": "digits"})
    assert answer.status_code == 400
    assert "pixels in a file of many; photos are taught here" in answer.get_json()["error"]["message"]
    assert client.get("/v1/datasets").get_json() == {"datasets": []}


def test_splits_of_folders_stay(client: FlaskClient) -> None:
    members = {
        f"{split}/{name}": data for split in ("train", "test") for name, data in class_folders(2).items()
    }
    told = client.post("/v1/datasets", data=zipped(members), content_type="application/zip").get_json()
    images = client.get(f"/v1/datasets/{told['id']}/images").get_json()["images"]
    assert sorted(one["split"] for one in images) == ["test"] * 4 + ["train"] * 4


def test_archives_are_checked_by_their_end_alone(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(lying())
    with pytest.raises(InputError, match="100,000,000 entries"):
        check_archive(tmp_path / "a.zip")

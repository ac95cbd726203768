"""Images as files of a form: in memory, bounded, and told what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from models.errors import InputError
from service.bodies.forms import images_of_form
from service.bodies.memory import Memory, Share
from service.bodies.upload import Upload
from tests.fixtures import plain


def part(name: str = "image", filename: str | None = "a.png", data: bytes = b"abc") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"


def read(body: bytes, boundary: str | None = "x", most: int = 3, size: int = 1 << 30) -> list[Upload]:
    return images_of_form(body, boundary, most, Share(Memory(size)))


def test_files_in_their_order_whatever_their_fields_are_called() -> None:
    large = bytes(range(256)) * 1000  # several reads long, with line breaks and dashes
    body = part("b", "1.png", large) + part("a", "2.png", b"") + part("b", "", b"no end --x") + b"--x--\r\n"
    assert read(body) == [Upload("1.png", large), Upload("2.png", b""), Upload("b", b"no end --x")]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: read(part() * 4 + b"--x--"), "holds 4 images; at most 3"),
        (lambda: read(part() + part("top_k", None, b"3") + b"--x--"), "a field that is no file: 'top_k'"),
        (lambda: read(part()), "cut off before its end"),
        (lambda: read(part() + b"--x"), "cut off before its end"),
        (lambda: read(b"--x\r\nbroken"), "cut off before its end"),
        (lambda: read(b"--x\r\nNo-Name: 1\r\n\r\nabc\r\n--x--"), "no form"),
        (lambda: read(b""), "cut off before its end"),
        (lambda: read(part() + b"--x--", None), "names no boundary"),
        (lambda: read(b"--x\r\n" + b"A: " + b"a" * 1_000_000 + b"\r\n\r\n\r\n--x--"), "no form"),
    ],
)
def test_refusals(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make()


def test_memory_is_counted() -> None:
    with pytest.raises(InputError, match="takes more than the 0 MiB there are for all"):
        read(part(data=bytes(2000)) + b"--x--", size=1000)


def test_form_without_a_boundary_has_its_own_message(client: FlaskClient) -> None:
    response = client.post("/v1/classify", data=plain("red"), content_type="multipart/form-data")
    assert response.status_code == 400
    assert "names no boundary" in response.get_json()["error"]["message"]


def test_large_files_touch_no_disk(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, lambda *_, **__: pytest.fail("a file was made"))
    image = plain("red") + bytes(900_000)  # above the size from which Werkzeug would write to a file
    body = part(data=image) + b"--x--\r\n"
    response = client.post("/v1/classify", data=body, content_type="multipart/form-data; boundary=x")
    assert response.get_json()["results"][0]["predictions"][0]["label"] == "red"

"""Which files are images, who reads them, and what a person is told where nobody does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import preprocessing
from models.errors import ImageError
from models.fingerprint import image_digest
from models.image_kinds import HEAD, HEIF, KINDS, READ, heif_reader, kind_of_content, kind_of_name, revision
from models.preprocessing import Preprocessing
from tests import optional
from tests.fixtures import encoded, plain

HEIC = (
    Path(__file__).parent / "golden" / "red.heic"
).read_bytes()  # 64 x 64 of (200, 30, 40), written by libheif
SQUASH = Preprocessing((16, 16), "squash")


def test_each_ending_belongs_to_one_kind() -> None:
    endings = [ending for kind in KINDS for ending in kind.endings]
    assert len(endings) == len(set(endings))
    assert all(kind_of_name(f"a/B{ending.upper()}") is kind for kind in KINDS for ending in kind.endings)
    assert kind_of_name("notes.txt") is None


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", ".ico", ".mpo"])
def test_what_pillow_reads_needs_no_remedy(ending: str) -> None:
    assert kind_of_name(f"a{ending}") is READ


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("IMG_1.HEIC", HEIC, r"a HEIF photo, which nothing installed here reads\. Run: pip install '\.\[heif\]'"),
        ("named.jpg", HEIC, r"a HEIF photo, which nothing installed here reads"),
        ("a.jxl", b"\xff\x0a" + bytes(40), r"a JPEG XL image.*Run: djxl"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        ("a.psd", b"8BPS\0\1", "a drawing in layers"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing in layers or lines"),
        ("a.dcm", bytes(128) + b"DICM", "a DICOM image"),
        ("a.CR3", b"\0\0\0\x18ftypcrx " + bytes(12), "a camera's raw file.*Develop it to JPEG"),
        ("a.nef", encoded(Image.new("RGB", (160, 120)), "TIFF"), "a camera's raw file"),
        ("a.avif", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", r"an AVIF image.*pip install --upgrade pillow"),
    ],
)  # fmt: skip
def test_image_that_nothing_reads_is_named_with_what_to_do(
    name: str, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocessing, "heif_reader", lambda: None)
    with pytest.raises(ImageError, match=f"^{name}: {reason}"):
        SQUASH.load(content, name=name)


def test_photo_of_a_phone_is_read_where_its_reader_is_installed() -> None:
    optional.library("pillow_heif", extra="heif")
    np.testing.assert_allclose(SQUASH.load(HEIC).mean(axis=(0, 1)), (200, 30, 40), atol=4)
    with pytest.raises(
        ImageError, match=r"half\.heic: a HEIF photo that is damaged|half\.heic: .*cannot be decoded"
    ):
        SQUASH.load(HEIC[:300], name="half.heic")


def test_png_that_is_called_heic_is_read() -> None:
    assert SQUASH.load(plain("red"), name="a.heic").shape == (16, 16, 3)


def test_digest_of_most_files_is_that_of_their_bytes_alone() -> None:
    data = plain("red")
    assert image_digest(data) == hashlib.sha256(data).digest()
    deep = encoded(Image.fromarray(np.full((4, 4), 4095, np.uint16)))
    assert revision(deep[:HEAD])
    assert image_digest(deep) != hashlib.sha256(deep).digest()
    assert kind_of_content(HEIC[:HEAD]) is HEIF
    assert revision(HEIC[:HEAD]) == f"heif {heif_reader()}".encode()

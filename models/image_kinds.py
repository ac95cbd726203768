"""Kinds of image files, by their endings and their first bytes: who reads them, and what to do where nobody does.

The one table that tells images from other files. What stands in it and cannot be read here is an image that fails, by
name and with a way out, and never a file that is passed over.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache

from models.extras import how_to_install

HEAD = 64  # bytes at the beginning of a file that tell its kind
_EXPORT = "Save it as JPEG or PNG, with the program that wrote it, and give that"


@dataclass(frozen=True)
class ImageKind:
    """One kind of image file: what people call it, its endings, and what to run or do where it cannot be read."""

    name: str
    endings: tuple[str, ...]
    remedy: str


# fmt: off
# What Pillow reads, as far as files of strangers are let near it.
READ = ImageKind("an image", (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".mpo",
), "Copy or download it again")
HEIF = ImageKind(
    "a HEIF photo", (".heic", ".heif", ".hif", ".heics", ".heifs"),
    f"Run: {how_to_install('heif')}. Or save it as JPEG",
)
AVIF = ImageKind("an AVIF image", (".avif", ".avifs"), "Run: pip install --upgrade pillow")
# Its one plugin for Pillow decodes a file before its size can be asked for: a small one could fill the memory.
JPEG_XL = ImageKind("a JPEG XL image", (".jxl",), "Run: djxl IMAGE.jxl IMAGE.png, and give the PNG")
JPEG_2000 = ImageKind("a JPEG 2000 image", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm"), _EXPORT)
RAW = ImageKind("a camera's raw file", (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".mef", ".mrw", ".nef", ".nrw", ".orf", ".pef",
    ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
), "Develop it to JPEG, with the camera's program, and give that")
DRAWING = ImageKind("a drawing in layers or lines", (".psd", ".psb", ".xcf", ".svg", ".svgz", ".ai"), _EXPORT)
MEDICAL = ImageKind("a DICOM image", (".dcm", ".dicom"), _EXPORT)
RARE = ImageKind("an image of a rare kind", (".tga", ".dds", ".exr", ".pcx", ".qoi", ".jxr", ".wdp", ".bpg"), _EXPORT)
# fmt: on
KINDS = (READ, HEIF, AVIF, JPEG_XL, JPEG_2000, RAW, DRAWING, MEDICAL, RARE)
_BY_ENDING = {ending: kind for kind in KINDS for ending in kind.endings}
ENDINGS = frozenset(_BY_ENDING)

# Source: ISO/IEC 23008-12 (HEIF), annex B, and the AV1 Image File Format; "mif1" and "msf1" are said by both.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_SIGNATURES = (
    (b"\xff\x0a", JPEG_XL),
    (b"\x00\x00\x00\x0cJXL ", JPEG_XL),
    (b"\x00\x00\x00\x0cjP  ", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"8BPS", DRAWING),
    (b"FUJIFILMCCD-RAW", RAW),
)


def kind_of_name(name: str) -> ImageKind | None:
    """The kind of an image file by its ending; None for other files."""
    return _BY_ENDING.get(os.path.splitext(name)[1].lower())


def kind_of_content(head: bytes) -> ImageKind | None:
    """The kind of a file that Pillow does not read, by its first `HEAD` bytes; None where they tell nothing."""
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(len(head), _box(head)), 4))]
        if any(brand in _AVIF_BRANDS for brand in brands):
            return AVIF
        if any(brand in _HEIF_BRANDS for brand in brands):
            return HEIF
        return RAW if brands[0] == b"crx " else None
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _box(head: bytes) -> int:
    """The length of the box at the beginning of an ISO media file."""
    return int.from_bytes(head[:4], "big")


@cache
def heif_reader() -> str | None:
    """The version of what reads HEIF, which Pillow knows from now on; None where it is not installed."""
    try:
        reader = importlib.import_module("pillow_heif")
    except ImportError:  # a library that it needs may be missing too
        return None
    reader.register_heif_opener()
    return str(reader.__version__)


def revision(head: bytes) -> bytes:
    """What else than its bytes decides about the pixels of a file that begins so, for caches; b"" of most files.

    Other decoders than Pillow's own, and a rule of ours that has changed: the second, of images with 16 bits.
    """
    if kind_of_content(head) is HEIF:
        return f"heif {heif_reader()}".encode()
    sixteen_bits = head.startswith(b"\x89PNG") and head[24:25] == b"\x10"
    return b"depth 2" if sixteen_bits or head[:4] in (b"II*\0", b"MM\0*") else b""

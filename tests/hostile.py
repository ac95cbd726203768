"""Images that people really send, and some that only an enemy would: one table for every test that takes images."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.fixtures import COLOURS, encoded, photo, plain, png_bomb

RED = COLOURS["red"]


def _cmyk() -> bytes:
    return encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=95)


def _palette_with_transparency() -> bytes:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 255, *RED])
    return encoded(image, "PNG", transparency=0)


def _transparent_on_white() -> bytes:
    return encoded(Image.new("RGBA", (20, 20), (0, 0, 255, 0)))


def _whole_numbers(largest: int, kind: str = "PNG", dtype: type = np.uint16) -> bytes:
    """Half of the pixels are 0, half have the largest value."""
    pixels = np.zeros((20, 20), dtype)
    pixels[:10] = largest
    return encoded(Image.fromarray(pixels), kind)


def _sixteen_bit_colours(value: int) -> bytes:
    """A PNG of one colour with 16 bits a channel, which Pillow does not write."""
    rows = b"".join(b"\0" + struct.pack(">3H", value, 0, 0) * 20 for _ in range(20))
    parts = [
        (b"IHDR", struct.pack(">2I5B", 20, 20, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), COLOURS[name]) for name in COLOURS]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


def _turned() -> bytes:
    """Red lies on top once the camera's turn is undone; the stored pixels have it on the left."""
    image = Image.new("RGB", (40, 20), COLOURS["blue"])
    image.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", quality=95, exif=exif)


# name -> (bytes, mean colour of what the classifier should see)
READABLE: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "plain.png": (lambda: plain("red"), RED),
    "cmyk.jpg": (_cmyk, RED),
    "palette.png": (_palette_with_transparency, RED),
    "transparent.png": (_transparent_on_white, (255, 255, 255)),
    "16bit.png": (lambda: _whole_numbers(0xFFFF), (128, 128, 128)),
    "12_of_16_bits.png": (lambda: _whole_numbers(4095), (128, 128, 128)),
    "8_of_16_bits.png": (lambda: _whole_numbers(255), (128, 128, 128)),
    "12_of_32_bits.tiff": (lambda: _whole_numbers(4095, "TIFF", np.int32), (128, 128, 128)),
    "16_of_32_bits.tiff": (lambda: _whole_numbers(65535, "TIFF", np.int32), (128, 128, 128)),
    "31_of_32_bits.tiff": (lambda: _whole_numbers(2**31 - 1, "TIFF", np.int32), (128, 128, 128)),
    "16bit_colours.png": (lambda: _sixteen_bit_colours(0xFFFF), RED),
    "one_bit.png": (lambda: encoded(Image.new("1", (20, 20), 1)), (255, 255, 255)),
    "grey.png": (lambda: encoded(Image.new("L", (20, 20), 100)), (100, 100, 100)),
    "animated.gif": (lambda: _animated("GIF"), RED),
    "animated.webp": (lambda: _animated("WEBP"), RED),
    "turned.jpg": (_turned, (128, 0, 127)),
    "1x1.png": (lambda: plain("red", (1, 1)), RED),
    "strip.png": (lambda: plain("red", (30_000, 1)), RED),
    "really_a_png.jpg": (lambda: plain("red"), RED),
    "comment_behind.jpg": (lambda: plain("red", kind="JPEG") + b"trailing bytes", RED),
}


def _truncated_jpeg() -> bytes:
    whole = encoded(photo((400, 300)), "JPEG")
    return whole[: len(whole) // 2]


def _gif_bomb() -> bytes:
    """A GIF that declares 65,535 x 65,535 pixels in 40 bytes."""
    header = b"GIF89a" + struct.pack("<HHBBB", 0xFFFF, 0xFFFF, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 0xFFFF, 0xFFFF, 0)
    return header + frame + b"\x02\x02\x44\x01\x00;"


def _float_tiff() -> bytes:
    return encoded(Image.new("F", (20, 20), 0.5), "TIFF")


def _damaged_png() -> bytes:
    data = bytearray(encoded(photo()))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def _eps() -> bytes:
    """PostScript: Pillow would start another program for it."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "EPS")
    return stream.getvalue()


# name -> (bytes, what the reason says)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "the file is empty"),
    "text.jpg": (lambda: b"<html>404 not found</html>", "not an image that can be read; expected JPEG"),
    "truncated.jpg": (_truncated_jpeg, "cut off before its end"),
    "header_only.png": (lambda: plain("red")[:30], "not an image that can be read"),
    "damaged.png": (_damaged_png, "cannot be decoded|cut off"),
    "bomb.png": (png_bomb, "30000 x 30000 pixels; at most 178,956,970|more pixels than any photo has"),
    "bomb.gif": (_gif_bomb, "more pixels than any photo has"),
    "float.tiff": (_float_tiff, "floating-point numbers of unknown range"),
    "negative.tiff": (
        lambda: _whole_numbers(-1000, "TIFF", np.int32),
        "numbers from -1,000 to 0, of unknown range",
    ),
    "12_bit_colours.png": (lambda: _sixteen_bit_colours(4095), "black or hold 12 bits or fewer"),
    "program.eps": (_eps, "not an image that can be read"),
    "nul.png": (lambda: bytes(1000), "not an image that can be read"),
}

"""One photo that comes in: what it is, what is wrong with it, and small versions of it."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

from PIL import Image

from feature_extraction.items import held_item, printable
from finetune.dataset.examples import Example
from finetune.dataset.quality import flaws
from finetune.dataset.scanning import Facts, examine
from models.cores import cores
from models.errors import ImageError
from models.preprocessing import header, thumbnail
from models.wording import composed

NAME_MOST = 200  # characters of a name
_QUALITY = 85
# Pillow's names of what is kept, and what browsers call them.
TYPES = {
    "JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif",
    "BMP": "image/bmp", "TIFF": "image/tiff", "AVIF": "image/avif", "HEIF": "image/heic", "JPEG2000": "image/jp2",
}  # fmt: skip
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2"}
# More decoders than cores would only take longer, all of them, and hold more memory.
_DECODING = threading.Semaphore(cores())


@dataclass(frozen=True)
class Photo:
    """A photo that can be read: its name, its bytes, what they are, and a flaw that is seen in it alone."""

    name: str
    data: bytes
    facts: Facts
    flaw: str | None
    detail: str | None

    @property
    def ending(self) -> str:
        """Of a file of this kind, with the dot."""
        return _ENDINGS.get(self.facts.format, f".{self.facts.format.lower()}")


def read_photo(name: str, data: bytes, most_pixels: int) -> Photo:
    """Look at the bytes of a photo.

    Raises:
        ImageError: they are no image that can be read, or it has more pixels than `most_pixels`.
    """
    name = short_name(name)
    size = header(data, name=name)
    if size.width * size.height > most_pixels:
        raise ImageError(
            f"{name}: {size.width:,} x {size.height:,} pixels; this service takes photos of at most "
            f"{most_pixels / 1e6:,.0f} megapixels. Make it smaller: networks look at a few hundred pixels a side."
        )
    example = Example(held_item(name, data))
    with _DECODING:
        facts = examine(example)
        if facts.error is not None:
            raise ImageError(facts.error)
        flaw = next(iter(flaws([example], [facts], threads=1)), None)
    if flaw is None:
        return Photo(name, data, facts, None, None)
    return Photo(name, data, facts, flaw.defect, flaw.detail)


def short_name(name: str) -> str:
    """What a photo is called where people look: the last part of a path, of one line."""
    last = composed(printable(name)).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(sign if sign.isprintable() else " " for sign in last).strip()[:NAME_MOST] or "photo"


def small_version(data: bytes, side: int, name: str) -> bytes:
    """A photo that fits into a square of `side` pixels, upright, as a JPEG.

    Raises:
        ImageError: it cannot be read.
    """
    with _DECODING:
        picture: Image.Image = thumbnail(data, side, name=name)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()

"""The few images that a report shows: which, and as small pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from feature_extraction.items import ImageItem, read_item
from finetune.report.classification import confident_mistakes
from finetune.report.findings import Findings
from finetune.report.summary import Classification
from models.errors import GraftError
from models.preprocessing import Preprocessing

Thumbnails = Callable[[int], bytes | None]

SPOTS = 5
PAIRS = 8
OF_A_PAIR = 4
MISTAKES = 12
REJECTED = 12
SIDE = 160  # pixels
MOST_BYTES = 16_000  # of one picture; 76 of them make 1.6 MB in base64


@dataclass(frozen=True)
class Picture:
    """One measured image with what was answered. `source` is a data URI, None where there is no picture."""

    row: int
    source: str | None


@dataclass(frozen=True)
class Pictures:
    """All images that the page shows, each list in the order in which they are worth looking at."""

    weak_spots: tuple[tuple[Picture, ...], ...]  # for the first SPOTS of the weak spots
    confusions: tuple[tuple[Picture, ...], ...]  # for the first PAIRS of the confusions, without those above
    mistakes: tuple[Picture, ...]  # the most confident first, without those above
    rejected: tuple[Picture, ...]  # the highest score first, without those above
    all_mistakes: int  # that there would be, with those above
    all_rejected: int


def choose(findings: Findings, classification: Classification, thumbnails: Thumbnails) -> Pictures:
    """Fetch the pictures of weak spots, confusions, confident mistakes, and of what would be rejected, each once."""
    seen: set[int] = set()

    def picture(row: int) -> Picture:
        seen.add(row)
        data = thumbnails(row)
        return Picture(row, data_uri(data) if data else None)

    def pictures(rows: Sequence[int]) -> tuple[Picture, ...]:
        return tuple(picture(row) for row in rows if row not in seen)

    refused = np.zeros(0, np.int64)
    if findings.rejection:
        scores = findings.rejection.known
        refused = np.flatnonzero(scores > findings.rejection.threshold)
        refused = refused[np.argsort(-scores[refused], kind="stable")]
    mistakes = confident_mistakes(_truth(findings), classification.predicted, classification.confidence)
    surest, highest = mistakes[:MISTAKES].tolist(), refused[:REJECTED].tolist()
    return Pictures(
        tuple(pictures(spot.rows[:OF_A_PAIR]) for spot in classification.weak_spots[:SPOTS]),
        tuple(pictures(pair.rows[:OF_A_PAIR]) for pair in classification.confusions[:PAIRS]),
        pictures(surest),
        pictures(highest),
        len(surest),
        len(highest),
    )


def pictures_at(rows: Sequence[int], thumbnails: Thumbnails) -> tuple[Picture, ...]:
    """The pictures of some of the measured images."""
    return tuple(Picture(row, data_uri(data) if (data := thumbnails(row)) else None) for row in rows)


def pictures_of(items: Sequence[ImageItem]) -> Thumbnails:
    """A function from places among images to small JPEGs of them."""
    small = Preprocessing((SIDE, SIDE))

    def picture(row: int) -> bytes | None:
        from PIL import Image

        stream = io.BytesIO()
        try:
            pixels = small.load(read_item(items[row]), name=items[row].id)
        except GraftError:  # it was there when it was measured
            return None
        Image.fromarray(pixels).save(stream, "JPEG", quality=80)
        return stream.getvalue()

    return picture


def data_uri(encoded: bytes) -> str | None:
    """An image file as a small JPEG in a `data:` address; None where it cannot be read."""
    if encoded[:3] != b"\xff\xd8\xff" or len(encoded) > MOST_BYTES:
        smaller = _shrink(encoded)
        if smaller is None:
            return None
        encoded = smaller
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def _shrink(encoded: bytes) -> bytes | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            small = image.convert("RGB")
    # What Pillow raises on damaged files.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    small.thumbnail((SIDE, SIDE))
    for quality in (80, 60, 30):
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=quality)
        if stream.tell() <= MOST_BYTES:
            break
    return stream.getvalue()


def _truth(findings: Findings) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(findings.truth, np.int64)

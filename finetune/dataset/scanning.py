"""Reads every image once and notes what is to be known of it without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from feature_extraction.byte_store import ByteStore
from feature_extraction.items import Content, read_item
from feature_extraction.ordered import ordered_map
from finetune.dataset.examples import Example
from finetune.dataset.hashing import GRID, Hashes, hashes
from models.cores import cores
from models.errors import GraftError
from models.fingerprint import image_digest, preprocessing_digest
from models.preprocessing import Preprocessing, header

_SMALL = Preprocessing((GRID, GRID), "squash")
_AHEAD = 4  # images that wait for each thread
_AT_ONCE = 256  # images that are remembered together
_STORED = ("width", "height", "mode", "format", "bytes")


@dataclass(frozen=True)
class Facts:
    """What one image is, or why it cannot be read: then `error` says so and the rest is empty."""

    digest: bytes = b""  # SHA-256 of the file, or of the pixels of an array
    width: int = 0  # as it is stored, before it is turned upright
    height: int = 0
    mode: str = ""  # Pillow's: RGB, L, RGBA, CMYK ...
    format: str = ""  # JPEG, PNG ...; "array" where there is no file
    bytes: int = 0  # of the file
    hashes: Hashes | None = None
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)  # (32, 32, 3), squashed
    error: str | None = None


def scan(
    examples: Sequence[Example],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    store: ByteStore | None = None,
) -> list[Facts]:
    """Read each image once and tell what it is, in the order of the examples.

    `threads` decode at once (None: one a core); `progress` hears (images done, images in all). `store` remembers what
    was found by the images' content, so that it need not be decoded again.
    """
    known = _KnownFacts(store) if store else None
    scanned: list[Facts] = []
    workers = threads or cores()
    examined = partial(examine, known=known)
    for facts in ordered_map(examined, examples, threads=workers, ahead=workers * _AHEAD, name="graft-scan"):
        scanned.append(facts)
        if known:
            known.put(facts, last=len(scanned) == len(examples))
        if progress:
            progress(len(scanned), len(examples))
    return scanned


def examine(example: Example, known: _KnownFacts | None = None) -> Facts:
    """Read one image and tell what it is; one that cannot be read has an `error`."""
    try:
        content = read_item(example.item)
        digest = image_digest(content)
        return (known and known.get(digest)) or _facts(content, digest, example.item.id)
    except GraftError as exc:
        return Facts(error=str(exc))


class _KnownFacts:
    """Facts in a store: what the header says as JSON, a line end, and the small pixels, of which hashes are made."""

    def __init__(self, store: ByteStore) -> None:
        self._store, self._pixels = store, f"facts {preprocessing_digest(_SMALL)}".encode()
        self._new: list[tuple[bytes, bytes]] = []
        self._stored: set[bytes] = set()  # digests of the images that were known already

    def get(self, digest: bytes) -> Facts | None:
        """What is known of the image with this digest."""
        values = self._store.get([self._key(digest)])
        if values is None:
            return None
        self._stored.add(digest)
        properties, _, small = values[0].partition(b"\n")
        pixels = np.frombuffer(small, np.uint8).reshape(GRID, GRID, 3)
        return Facts(digest, **json.loads(properties), hashes=hashes(pixels), pixels=pixels)

    def put(self, facts: Facts, *, last: bool) -> None:
        """Remember a new image, some at a time; those that cannot be read are tried again."""
        if facts.pixels is not None and facts.digest not in self._stored:
            properties = {name: getattr(facts, name) for name in _STORED}
            self._new.append(
                (self._key(facts.digest), json.dumps(properties).encode() + b"\n" + facts.pixels.tobytes())
            )
        if self._new and (last or len(self._new) >= _AT_ONCE):
            self._store.put(self._new)
            self._new = []

    def _key(self, digest: bytes) -> bytes:
        return hashlib.sha256(digest + self._pixels).digest()


def _facts(content: Content, digest: bytes, name: str) -> Facts:
    try:
        head = header(content, name=name)
        pixels = _SMALL.load(content, name=name)  # (32, 32, 3)
    except GraftError as exc:
        return Facts(digest, bytes=_length(content), error=str(exc))
    return Facts(
        digest, head.width, head.height, head.mode, head.format, _length(content), hashes(pixels), pixels
    )


def _length(content: Content) -> int:
    if isinstance(content, bytes):
        return len(content)
    return content.nbytes if isinstance(content, np.ndarray) else len(content.tobytes())

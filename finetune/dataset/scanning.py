"""Reads every image once and notes what is to be known of it without a network."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feature_extraction.reading import Content
from feature_extraction.worker import read_item
from finetune.dataset.hashing import GRID, Hashes, hashes
from finetune.dataset.table import Example
from models.errors import GraftError
from models.fingerprint import image_digest
from models.preprocessing import Preprocessing, header

_SMALL = Preprocessing((GRID, GRID), "squash")
_AHEAD = 4  # images that wait for each thread


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
) -> list[Facts]:
    """Read each image once and tell what it is, in the order of the examples.

    `threads` decode at once (None: one a core); `progress` hears (images done, images in all).
    """
    found: list[Facts] = []
    for facts in _in_order(examples, threads or os.cpu_count() or 1):
        found.append(facts)
        if progress:
            progress(len(found), len(examples))
    return found


def examine(example: Example) -> Facts:
    """Read one image and tell what it is; one that cannot be read has an `error`."""
    try:
        content = read_item(example.item)
        digest = image_digest(content)
        return _facts(content, digest, example.item.id)
    except GraftError as exc:
        return Facts(error=str(exc))


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


def _in_order(examples: Sequence[Example], threads: int) -> Iterator[Facts]:
    """Facts as they come, with few images ahead of the caller."""
    waiting: deque[Future[Facts]] = deque()
    with ThreadPoolExecutor(threads, "graft-scan") as pool:
        try:
            for example in examples:
                waiting.append(pool.submit(examine, example))
                if len(waiting) > threads * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # Ctrl-C does not wait for what nobody asks for any more
            pool.shutdown(wait=False, cancel_futures=True)

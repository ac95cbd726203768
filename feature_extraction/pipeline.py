"""Images through stages that work at the same time: list, read, decode, then run, in order to the caller.

    source ──> lister ──> readers ──> decoders (look into the cache, decode) ──> runners (onnxruntime) ──> caller
                 ^                                                                                          │
                 └──────────────────── a permit for each batch that may exist ──────────────────────────────┘

Each stage has its own queue. Readers wait for disks and networks, not for cores: there are many of them, so that what
is far away keeps no decoder waiting. A batch needs a permit before it is begun and gives it back when the caller has
taken it: that bounds all the queues together, so memory does not grow with the number of images. Threads do it,
because Pillow and onnxruntime let go of Python's lock while they work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import Content, ImageItem, read_item
from feature_extraction.timings import Timings
from feature_extraction.worker import Rows, Vectors, View, Worker, collect
from models.errors import GraftError
from models.fingerprint import image_digest


class Cache(Protocol):
    """Remembers features by the digest of the image; see `feature_extraction.cache`."""

    def get(self, image: bytes) -> Rows | None:
        """The features of an image, or None."""

    def put(self, rows: Iterable[tuple[bytes, Rows]]) -> None:
        """Remember features."""


@dataclass(frozen=True)
class Allocation:
    """How the cores are shared: `decoders` threads decode while `runners` batches run, each on `threads` threads."""

    decoders: int
    runners: int = 1
    threads: int | None = None


READERS = 16
_PATIENCE = 1.0  # seconds for a source to answer when nobody wants more; a silent one is left to itself


@dataclass
class _Slot:
    """The place of one image, or of one view of it, in its batch."""

    item: ImageItem
    view: View | None = None
    pixels: NDArray[np.uint8] | None = None  # (H, W, 3), between decoder and runner
    digest: bytes | None = None  # by which the cache knows it
    result: Rows | GraftError = ()


@dataclass
class _Batch:
    number: int
    slots: list[_Slot]
    undecoded: int = 0  # images
    error: BaseException | None = None  # what ended the run here
    lock: threading.Lock = field(default_factory=threading.Lock)


def run_pipeline(
    worker: Worker,
    items: Iterable[ImageItem],
    *,
    batch_size: int,
    allocation: Allocation,
    cache: Cache | None = None,
    timings: Timings | None = None,
    views: Sequence[View] = (),
) -> Generator[Vectors, None, None]:
    """Features of all images, lazily and in order; each `Vectors` covers `batch_size` images of the source.

    With `views` there is a row for each view of an image, one behind the other, in place of one for the image as it
    is. An image is read and decoded once for all of them.

    Raises:
        SourceError: the source gives no images, or breaks off; what came before it has been yielded.
        ModelError: the network itself fails.
    """
    return _Run(worker, items, batch_size, allocation, cache, timings or Timings(), views).batches()


class _Run:
    def __init__(
        self,
        worker: Worker,
        items: Iterable[ImageItem],
        batch_size: int,
        allocation: Allocation,
        cache: Cache | None,
        timings: Timings,
        views: Sequence[View],
    ) -> None:
        self._worker, self._items, self._batch_size, self._allocation = worker, items, batch_size, allocation
        self._cache, self._timings, self._views = cache, timings, views or (None,)
        self._timings.threads |= dict.fromkeys(("cache", "decode"), allocation.decoders)
        self._timings.threads |= {"read": READERS, "infer": allocation.runners}
        # One batch in each runner and one ready for it, those that are read and decoded, one for the caller.
        ahead = 2 * allocation.runners + 1 + -(-(READERS + allocation.decoders) // batch_size)
        self._permits = threading.Semaphore(ahead)
        self._listed: SimpleQueue[tuple[_Batch, list[_Slot]] | None] = SimpleQueue()
        self._fetched: SimpleQueue[tuple[_Batch, list[_Slot], Content] | None] = SimpleQueue()
        self._ready: SimpleQueue[_Batch | None] = SimpleQueue()
        self._done: SimpleQueue[_Batch] = SimpleQueue()
        self._stop = threading.Event()

    def batches(self) -> Generator[Vectors, None, None]:
        targets = [
            self._list,
            *[self._read] * READERS,
            *[self._decode] * self._allocation.decoders,
            *[self._infer] * self._allocation.runners,
        ]
        threads = [
            threading.Thread(target=target, name=f"graft{target.__name__}", daemon=True) for target in targets
        ]
        for thread in threads:
            thread.start()
        try:
            early: dict[int, _Batch] = {}
            number = 0
            while True:
                while number not in early:
                    batch = self._done.get()
                    early[batch.number] = batch
                batch = early.pop(number)
                if batch.error is not None:
                    raise batch.error
                if not batch.slots:  # the end
                    return
                yield collect(self._worker.cuts, ((slot.item.id, slot.result) for slot in batch.slots))
                self._permits.release()
                number += 1
        finally:  # the caller may stop early
            self._stop.set()
            self._permits.release()
            for _ in range(READERS):
                self._listed.put(None)
            for _ in range(self._allocation.decoders):
                self._fetched.put(None)
            for _ in range(self._allocation.runners):
                self._ready.put(None)
            lister, *others = threads
            for thread in others:
                thread.join()
            lister.join(_PATIENCE)

    def _list(self) -> None:
        """Ask the source for images, a batch at a time."""
        end = _Batch(0, [])
        stream = iter(self._items)
        while end.error is None:
            self._permits.acquire()
            if self._stop.is_set():
                return
            images = self._next(stream, end)
            if not images:
                break
            batch = _Batch(end.number, [slot for slots in images for slot in slots], len(images))
            end.number += 1
            for slots in images:
                self._listed.put((batch, slots))
        self._done.put(end)

    def _next(self, stream: Iterator[ImageItem], end: _Batch) -> list[list[_Slot]]:
        """Places for the next images, a list for each; where the source breaks off, the break goes to `end`."""
        images: list[list[_Slot]] = []
        began = time.perf_counter()
        try:
            images.extend(
                [_Slot(item, view) for view in self._views] for item in islice(stream, self._batch_size)
            )
        except BaseException as exc:  # raised again where the caller waits
            end.error = exc
        self._timings.add("list", time.perf_counter() - began, len(images))
        return images

    def _read(self) -> None:
        """Read one image after the other."""
        while (task := self._listed.get()) is not None:
            batch, slots = task
            content: Content | None = None
            if not self._stop.is_set():
                with _caught(batch, slots), self._timings.stage("read"):
                    content = read_item(slots[0].item)
            if content is None:
                self._count_decoded(batch)
            else:
                self._fetched.put((batch, slots, content))

    def _decode(self) -> None:
        """Decode one image after the other, unless the cache knows it."""
        while (task := self._fetched.get()) is not None:
            batch, slots, content = task
            if not self._stop.is_set():
                with _caught(batch, slots):
                    self._fill(slots, content)
            self._count_decoded(batch)

    def _count_decoded(self, batch: _Batch) -> None:
        with batch.lock:
            batch.undecoded -= 1
            complete = not batch.undecoded
        if complete:
            self._ready.put(batch)

    def _fill(self, slots: list[_Slot], content: Content) -> None:
        """Find the features of an image or decode it; all of `slots` are views of one image."""
        item, digest = slots[0].item, None
        if self._cache is not None:
            with self._timings.stage("cache"):
                digest = image_digest(content)
                slots = [slot for slot in slots if not self._known(slot, digest)]
        if slots:
            with self._timings.stage("decode"):
                self._decode_slots(item, content, slots, digest)

    def _known(self, slot: _Slot, digest: bytes) -> bool:
        slot.digest = slot.view.digest(digest) if slot.view else digest
        rows = self._cache.get(slot.digest) if self._cache is not None else None
        slot.result = rows or ()
        return rows is not None

    def _decode_slots(
        self, item: ImageItem, content: Content, slots: list[_Slot], digest: bytes | None
    ) -> None:
        views = [slot.view for slot in slots if slot.view]
        if views:
            for slot, pixels in zip(
                slots, self._worker.decode_views(item, content, views, digest), strict=True
            ):
                slot.pixels = pixels
        else:
            slots[0].pixels = self._worker.decode(item, content)

    def _infer(self) -> None:
        """Run the decoded images of one batch after the other."""
        while (batch := self._ready.get()) is not None:
            waiting = [slot for slot in batch.slots if slot.pixels is not None]
            if waiting and batch.error is None and not self._stop.is_set():
                try:
                    self._run_network(waiting)
                except BaseException as exc:
                    batch.error = exc
            self._done.put(batch)

    def _run_network(self, slots: list[_Slot]) -> None:
        with self._timings.stage("infer", len(slots)):
            pixels = np.stack([slot.pixels for slot in slots if slot.pixels is not None])  # (N, H, W, 3)
            results = self._worker.infer(pixels, [slot.item.id for slot in slots])
        for slot, result in zip(slots, results, strict=True):
            slot.result, slot.pixels = result, None
        if self._cache is not None:
            new = [(slot.digest, slot.result) for slot in slots if slot.digest]
            self._cache.put((key, rows) for key, rows in new if not isinstance(rows, GraftError))


@contextmanager
def _caught(batch: _Batch, slots: list[_Slot]) -> Iterator[None]:
    """Let what is wrong with an image be its result, and anything else end the run at its batch."""
    try:
        yield
    except GraftError as exc:
        for slot in slots:
            slot.result, slot.pixels = exc, None
    except BaseException as exc:
        batch.error = exc

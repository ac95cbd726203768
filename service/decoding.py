"""Decodes the images of requests: a stage of its own, beside the runs, that holds only so many pixels at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cores import cores
from models.errors import CancelledError, DeadlineError, GraftError, ImageError, InputError
from models.preprocessing import Header, Preprocessing, header
from models.semaphore import WeightedSemaphore
from service.config import ServiceConfig
from service.records import RequestRecord
from service.uploads import Upload


@dataclass(frozen=True)
class Caller:
    """Who waits for an answer: until when, by the monotonic clock, and whether somebody still does."""

    deadline: float
    gone: Any = None  # `service.front.wsgi.ClientGone`; None where there is no connection
    record: RequestRecord = field(default_factory=RequestRecord)

    def check(self) -> None:
        """Go on only for somebody.

        Raises:
            CancelledError: the client has left.
            DeadlineError: it is too late.
        """
        if self.gone:
            raise CancelledError("the client has left.")
        if time.monotonic() > self.deadline:
            raise _too_late()


@dataclass(frozen=True)
class Decoded:
    """The images of a request: for each its name, and an array or the reason why there is none."""

    names: list[str]
    pixels: list[NDArray[np.uint8]]  # of those that could be read: (H, W, 3)
    failures: dict[int, GraftError]  # by position in `names`


class Decoder:
    """The decoding stage of a service. Safe to use from all its threads."""

    def __init__(self, config: ServiceConfig) -> None:
        self.config = config
        self._cores = threading.Semaphore(cores())
        self._pixels = WeightedSemaphore(config.max_pixels_at_once)

    def decode(self, uploads: Sequence[Upload], preprocessing: Preprocessing, caller: Caller) -> Decoded:
        """Decode images for a model; one that cannot be read stands among the failures.

        Raises:
            InputError: together they have too many pixels.
            DeadlineError, CancelledError: as `Caller.check`; what was not decoded by then is not.
        """
        with caller.record.stage("decode", len(uploads)):
            decoded = self._decoded(uploads, preprocessing, caller)
        caller.record.outcomes["unreadable"] += len(decoded.failures)
        return decoded

    def _decoded(self, uploads: Sequence[Upload], preprocessing: Preprocessing, caller: Caller) -> Decoded:
        failures: dict[int, GraftError] = {}
        headers = [self._header(i, upload, failures) for i, upload in enumerate(uploads)]
        total = sum(one.width * one.height for one in headers if one is not None)
        if total > self.config.max_pixels_per_request:
            raise InputError(
                f"the images have {total / 1e6:,.0f} megapixels together; at most "
                f"{self.config.max_pixels_per_request / 1e6:,.0f} go in one request. Send several requests."
            )
        pixels = []
        for i, (upload, known) in enumerate(zip(uploads, headers, strict=True)):
            if known is None:
                continue
            try:
                pixels.append(self._decode(upload, known, preprocessing, caller))
            except ImageError as exc:
                failures[i] = exc
        return Decoded([upload.name for upload in uploads], pixels, failures)

    def _header(self, i: int, upload: Upload, failures: dict[int, GraftError]) -> Header | None:
        """Size and format of an image, before anything is spent on it."""
        try:
            if isinstance(upload.data, GraftError):
                raise upload.data
            size = header(upload.data, name=upload.name)
            count, most = size.width * size.height, self.config.max_pixels
            if count > most:
                raise ImageError(
                    f"{upload.name}: {size.width} x {size.height} pixels; this service takes images of at most "
                    f"{most / 1e6:,.0f} megapixels. Make the image smaller."
                )
            return size
        except GraftError as exc:
            failures[i] = exc
            return None

    def _decode(
        self, upload: Upload, known: Header, preprocessing: Preprocessing, caller: Caller
    ) -> NDArray[np.uint8]:
        caller.check()
        left = min(threading.TIMEOUT_MAX, max(0.0, caller.deadline - time.monotonic()))
        # More decoders than cores would only take longer, all of them, and hold more memory.
        if not self._cores.acquire(timeout=left):
            raise _too_late()
        try:
            caller.check()
            with self._pixels.hold(known.width * known.height):
                assert not isinstance(upload.data, GraftError)
                return preprocessing.load(upload.data, name=upload.name)
        finally:
            self._cores.release()


def _too_late() -> DeadlineError:
    return DeadlineError(
        "the images were not decoded in the time that the request had. Send fewer at a time."
    )

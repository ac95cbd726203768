"""Decodes the images of requests: a stage of its own, beside the runs, that holds only so many pixels at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.cores import cores
from models.errors import GraftError, ImageError, InputError
from models.preprocessing import Opened, Preprocessing
from models.semaphore import WeightedSemaphore
from service.bodies.upload import Upload
from service.caller import Caller, too_late
from service.config import ServiceConfig
from service.turns import Turns, end_turn

Made = TypeVar("Made")


@dataclass(frozen=True)
class Decoded(Generic[Made]):
    """The images of a request: for each its name, and what was made of it or the reason why there is nothing."""

    names: list[str]
    pixels: list[Made]  # of those that could be read
    failures: dict[int, GraftError]  # by position in `names`


# Makes something of one image of a request; it may raise ImageError.
Make = Callable[[Upload, Opened], Made]


def loads(preprocessing: Preprocessing) -> Make[NDArray[np.uint8]]:
    """What makes the (H, W, 3) of an image that a model takes."""
    return lambda upload, opened: preprocessing.load(opened, name=upload.name)


class Decoder:
    """The decoding stage of a service. Safe to use from all its threads."""

    def __init__(self, config: ServiceConfig, turns: Turns | None = None) -> None:
        """`turns`: at the cores; who runs what was decoded may share them."""
        self.config = config
        self._turns = turns or Turns(cores())
        self._pixels = WeightedSemaphore(config.max_pixels_at_once)

    def decode(
        self,
        uploads: Sequence[Upload],
        make: Make[Made],
        caller: Caller,
    ) -> Decoded[Made]:
        """What `make` makes of each image that is small enough.

        The thread has its turn at the cores still when this returns.

        Raises:
            InputError: together they have too many pixels.
            DeadlineError, CancelledError: as `Caller.check`; what was not decoded by then is not.
        """
        with caller.record.stage("decode", len(uploads)):
            decoded = self._decoded(uploads, make, caller)
        if decoded.failures:
            caller.record.outcomes["unreadable"] += len(decoded.failures)
        return decoded

    def _decoded(self, uploads: Sequence[Upload], make: Make[Made], caller: Caller) -> Decoded[Made]:
        failures: dict[int, GraftError] = {}
        images = [self._opened(i, upload, failures) for i, upload in enumerate(uploads)]
        total = sum(_pixels(one) for one in images if one is not None)
        if total > self.config.max_pixels_per_request:
            raise InputError(
                f"the images have {total / 1e6:,.0f} megapixels together; at most "
                f"{self.config.max_pixels_per_request / 1e6:,.0f} go in one request. Send several requests."
            )
        pixels: list[Made] = []
        for i, upload in enumerate(uploads):
            if (opened := images[i]) is None:
                continue
            if pixels:
                end_turn()  # others have one between two images
            try:
                pixels.append(self._make(upload, opened, make, caller))
            except ImageError as exc:
                failures[i] = _bare(exc)
            opened = images[i] = None  # which holds what was decoded
        return Decoded([upload.name for upload in uploads], pixels, failures)

    def _opened(self, i: int, upload: Upload, failures: dict[int, GraftError]) -> Opened | None:
        """An image with its header read, before anything is spent on its pixels."""
        try:
            opened, most = Opened(upload.content, name=upload.name), self.config.max_pixels
            if _pixels(opened) > most:
                size = opened.header
                raise ImageError(
                    f"{upload.name}: {size.width} x {size.height} pixels; this service takes images of at most "
                    f"{most / 1e6:,.0f} megapixels. Make the image smaller."
                )
            return opened
        except GraftError as exc:
            failures[i] = _bare(exc)
            return None

    def _make(self, upload: Upload, opened: Opened, make: Make[Made], caller: Caller) -> Made:
        caller.check()
        # More decoders than cores would only take longer, all of them, and hold more memory.
        if not self._turns.take(caller.deadline):
            raise too_late()
        caller.check()
        with self._pixels.hold(_pixels(opened)):
            return make(upload, opened)


def _pixels(opened: Opened) -> int:
    return opened.header.width * opened.header.height


def _bare(error: GraftError) -> GraftError:
    """The error without the frames it came through: they hold the file's bytes, in a circle with the errors."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)

"""A second model that answers the same images unseen, when there is time for it, and how often it says something else.

It hears what the first one has answered, behind the queue: no client waits for it, none is told of it, and what it does
wrong is only counted. It has a session of one thread of the lowest priority. It takes some images of a run when it is
free, nothing waits for the first model, and it has rested: of all time it is at work `share` at most.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.card import ModelCard
from models.errors import InputError
from models.model import Model
from models.wording import listed
from service.monitoring.chances import exact_interval, log_evidence
from service.results import ImageResult, image_results

CONFIDENT = 0.9  # probability of its class from which the first model counts as sure
# Evidence from which something is said: it deceives once in twenty times, however often asked.
CONVINCED = math.log(20)
_AT_ONCE = 8  # images
_EXAMPLES, _PAIRS = 20, 1000  # that are remembered at most
_END_S = 30.0  # that the last images may take when the process ends
_LOWEST = 19  # as of nice(1)
_SHOWN = 3
_log = logging.getLogger("graft")
Dropped = Literal["busy", "share", "queue"]
Verdict = Literal["more", "less", "undecided"]


@dataclass(frozen=True)
class Statement:
    """What a model says of an image: a class, "none of these", labels, or a number."""

    text: str
    probability: float | None = None


@dataclass(frozen=True)
class Example:
    """An image of which the two say different things."""

    at: float  # seconds since 1970
    first: Statement
    second: Statement


@dataclass
class ShadowState:
    """What is known at a moment."""

    images: int = 0
    disagreements: int = 0
    confident: int = 0  # images of which the first model was sure
    confident_disagreements: int = 0
    failed: int = 0  # images of which the second has no answer
    last_error: str = ""
    seconds: float = 0.0  # at work
    dropped: Counter[Dropped] = field(default_factory=Counter)
    examples: deque[Example] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    more: float = -math.inf  # the largest logarithm of evidence that the share is above the threshold
    less: float = -math.inf  # that it is below

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of how often they disagree, as of one look."""
        return exact_interval(self.disagreements, self.images)

    @property
    def verdict(self) -> Verdict:
        """Whether they disagree more often than the threshold, however often somebody has looked."""
        if max(self.more, self.less) < CONVINCED:
            return "undecided"
        return "more" if self.more > self.less else "less"


class Shadow:
    """Lets `second` answer images that `first` has answered. `hear` is called by all runners, and never waits."""

    def __init__(
        self,
        first: ModelCard,
        second: Model,
        share: float = 0.1,
        threshold: float = 0.05,
        *,
        queued: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`queued`: images that wait for the first model.

        Raises:
            InputError: the two cannot be compared, as `check_pair`.
        """
        self.unshared = check_pair(first, second.card)
        self.share, self.threshold, self.began = share, threshold, time.time()
        self._first, self._second, self._queued, self._clock = first, second, queued, clock
        self._state, self._changing = ShadowState(), threading.Lock()
        self._job: tuple[list[NDArray[np.uint8]], list[ImageResult]] | None = None
        self._rested_at, self._closed = -math.inf, False
        self._wake, self._done = threading.Event(), threading.Event()
        self._random = random.Random(0)
        self._thread = threading.Thread(target=self._work, name="graft-shadow", daemon=True)
        self._thread.start()
        # Python ends threads that run native code at its own end by ending the process.
        atexit.register(self._end)

    @property
    def state(self) -> ShadowState:
        """What is known now, a copy."""
        with self._changing:
            state = ShadowState(**vars(self._state))
            state.dropped, state.pairs = state.dropped.copy(), state.pairs.copy()
            state.examples = state.examples.copy()
            return state

    def hear(self, images: Sequence[NDArray[np.uint8]], results: Sequence[ImageResult]) -> None:
        """The first model has answered; the second may, for some of the images."""
        waiting = self._queued() > 0
        with self._changing:
            reason: Dropped | None = "queue" if waiting else None
            if self._job is not None:
                reason = "busy"
            elif self._clock() < self._rested_at:
                reason = "share"
            if reason is not None or self._closed:
                self._state.dropped[reason or "busy"] += len(images)
                return
            places: Sequence[int] = range(len(images))
            if len(images) > _AT_ONCE:
                places = sorted(self._random.sample(places, _AT_ONCE))
            self._state.dropped["busy"] += len(images) - len(places)
            self._job = [images[i] for i in places], [results[i] for i in places]
            self._done.clear()
        self._wake.set()

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is at work; for tests and for the end."""
        end = time.monotonic() + timeout_s
        while self._job is not None and time.monotonic() < end:
            self._done.wait(max(0.0, end - time.monotonic()))
        return self._job is None

    def close(self) -> None:
        """Take no more; the thread ends when it has done what it is at, before Python does."""
        with self._changing:
            self._closed = True
        self._wake.set()

    def _end(self) -> None:
        self.close()
        self._thread.join(_END_S)

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # of this thread alone, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closed:
                atexit.unregister(self._end)
                return
            if self._job is None:
                continue
            began = self._clock()
            self._compare(*self._job)
            with self._changing:
                ended = self._clock()
                self._state.seconds += ended - began
                self._rested_at = ended + (ended - began) * (1 - self.share) / self.share
                self._job = None
            self._done.set()

    def _compare(self, images: list[NDArray[np.uint8]], results: list[ImageResult]) -> None:
        """Whatever happens here stays here."""
        try:
            answers = image_results(self._second, np.stack(images))
        except Exception as exc:
            with self._changing:
                self._state.failed += len(images)
                self._state.last_error = f"{type(exc).__name__}: {exc}"[:500]
                is_first = self._state.failed == len(images)
            if is_first:
                _log.warning("the shadow %s has no answer: %s", self._second.card.name, exc)
            return
        with_none = self._first.reject is not None and self._second.rejects
        for one, other in zip(results, answers, strict=True):
            first, second = (
                statement(card, result, with_none=with_none)
                for card, result in ((self._first, one), (self._second.card, other))
            )
            with self._changing:
                self._note(first, second, differs=disagree(self._first, one, other, first, second))

    def _note(self, first: Statement, second: Statement, *, differs: bool) -> None:
        state = self._state
        state.images += 1
        state.disagreements += differs
        if first.probability is not None and first.probability >= CONFIDENT:
            state.confident += 1
            state.confident_disagreements += differs
        if differs:
            state.examples.append(Example(time.time(), first, second))
            pair = (first.text, second.text)
            if pair in state.pairs or len(state.pairs) < _PAIRS:
                state.pairs[pair] += 1
        counts = (state.disagreements, state.images, self.threshold)
        state.more = max(state.more, log_evidence(*counts, above=True))
        state.less = max(state.less, log_evidence(*counts, above=False))


def check_pair(first: ModelCard, second: ModelCard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the classes that only the first and only the second of two models has.

    Raises:
        InputError: the two do different things, take images differently, or have no class in common.
    """
    if first.task != second.task or first.task == "features":
        raise InputError(
            f"{second.name} is for {second.task} and {first.name} for {first.task}; a shadow and its model have to "
            "give answers of one kind. Choose another one."
        )
    if first.preprocessing != second.preprocessing:
        raise InputError(
            f"{second.name} takes images like this: {second.preprocessing.words()}; and {first.name} like this: "
            f"{first.preprocessing.words()}. A shadow is given the pixels of its model. Choose one with the same "
            "preprocessing."
        )
    if first.task == "regression":
        if first.target is None or not first.target.half_width:
            raise InputError(
                f"{first.name} does not tell how far its numbers may be from the truth, so nobody knows what a "
                "difference is. Fine-tune it with more images."
            )
        return (), ()
    ours, theirs = ([label.name for label in card.labels] for card in (first, second))
    only_first = tuple(name for name in ours if name not in set(theirs))
    only_second = tuple(name for name in theirs if name not in set(ours))
    if len(only_first) == len(ours):
        raise InputError(
            f"{second.name} has none of the classes of {first.name} ({listed(ours, _SHOWN)}); its own are "
            f"{listed(theirs, _SHOWN)}. Choose a model of the same classes."
        )
    return only_first, only_second


def statement(card: ModelCard, result: ImageResult, *, with_none: bool) -> Statement:
    """What a result says. `with_none`: that an image is none of the classes is an answer too."""
    if result.probabilities is None:
        return Statement(f"{result.value:.6g}")
    best = int(result.probabilities.argmax())
    probability = float(result.probabilities[best])
    if card.task == "multilabel":
        thresholds = np.asarray(card.holds_from, np.float32)
        rows = zip(card.labels, result.probabilities, thresholds, strict=True)
        names = [label.name for label, likely, threshold in rows if likely >= threshold]
        return Statement(listed(names, _SHOWN) if names else "no label", probability)
    if with_none and result.rejected:
        return Statement("none of these", probability)
    return Statement(card.labels[best].name, probability)


def disagree(
    card: ModelCard, one: ImageResult, other: ImageResult, first: Statement, second: Statement
) -> bool:
    """Whether two answers differ: by their names, or numbers by more than the first may be from the truth."""
    if one.value is not None and other.value is not None:
        width = card.target.half_width if card.target is not None else None
        return abs(one.value - other.value) > (width or 0.0)
    return first.text != second.text

"""What a run says while it works: stages with their progress, sentences for the user, epochs of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from finetune.training.result import EpochProgress
from models.wording import percent

STAGES = {  # those that take time, as a person calls them
    "scan": "looking at the images",
    "model": "opening the network",
    "candidates": "trying networks",
    "features": "features",
    "views": "altered versions",
    "train": "training",
    "unknown": "unknown images",
    "strangers": "images that are none of the classes",
    "assess": "measuring",
    "export": "writing the file",
    "proof": "proof in a fresh process",
    "previous": "the previous model",
    "report": "report",
}
_EVERY = 30.0  # seconds between two lines about one stage


class Observer:
    """Hears how a run goes. This one keeps quiet; override what is of interest."""

    def begin(self, stage: str, total: int | None = None) -> None:
        """A stage begins, with `total` pieces of work where that is known."""

    def advance(self, done: int) -> None:
        """So many pieces of the stage are done."""

    def train(self, progress: EpochProgress) -> None:
        """Where training stands."""

    def end(self, stage: str, seconds: float) -> None:
        """A stage has ended."""

    def say(self, text: str) -> None:
        """Something that the user should know."""


class LineObserver(Observer):
    """Writes a line for each stage, each epoch and each sentence: for logs and notebooks."""

    def __init__(
        self, write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write lines with `write`; a stage that takes long says every half minute where it is."""
        self._write, self._clock = write, clock
        self._stage, self._total, self._written_at = "", 0, 0.0

    def begin(self, stage: str, total: int | None = None) -> None:
        """Write what begins."""
        self._stage, self._total, self._written_at = STAGES.get(stage, ""), total or 0, self._clock()
        if self._stage:
            self._write(f"{self._stage}: {total:,}" if total else self._stage)

    def advance(self, done: int) -> None:
        """Write how far it is, now and then."""
        if self._stage and self._clock() - self._written_at >= _EVERY:
            self._written_at = self._clock()
            self._write(f"{self._stage}: {done:,}" + (f" of {self._total:,}" if self._total else ""))

    def train(self, progress: EpochProgress) -> None:
        """Write what an epoch came to."""
        if progress.step == progress.steps:
            self._write(
                f"{progress.phase}: epoch {progress.epoch}/{progress.epochs}, {epoch_words(progress)}"
            )

    def say(self, text: str) -> None:
        """Write it."""
        self._write(text)


def epoch_words(progress: EpochProgress) -> str:
    """Loss and accuracy in a few words."""
    words = f"loss {progress.loss:.3f}"
    if progress.val_loss is not None:
        words += f", val {progress.val_loss:.3f}"
    if progress.val_accuracy is not None:
        words += f", {percent(progress.val_accuracy)}"
    if progress.val_r2 is not None:
        words += f", R² {progress.val_r2:.3f}"
    return words


class Stages:
    """Tells an observer of the stages of a run, and keeps their times in seconds."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time what is done inside; a stage that is entered again adds up."""
        self.observer.begin(name, total)
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.observer.end(name, seconds)

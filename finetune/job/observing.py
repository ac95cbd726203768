"""What a run says while it works: stages with their progress, sentences for the user, epochs of training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from finetune.training.result import EpochProgress

# What the stages that take time are called where people look.
STAGES = {
    "scan": "looking at the images",
    "candidates": "trying networks",
    "features": "features",
    "views": "altered versions",
    "train": "training",
    "unknown": "unknown images",
    "assess": "measuring",
    "proof": "proof in a fresh process",
    "previous": "the previous model",
    "report": "report",
}


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

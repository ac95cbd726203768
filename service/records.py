"""What becomes of a request, written down where it happens: stages, images, the model that answered.

One thread at a time writes: the one that works for the request. Metrics, traces and the access log are made from it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from models.errors import CancelledError, DeadlineError, GraftError

RECORD = "graft.record"  # in the environment: `RequestRecord`
GRPC = "gRPC"  # in the place of a method, where a request has none
StageName = Literal["decode", "queue", "infer", "encode"]
Outcome = Literal["answered", "unreadable", "failed", "refused", "expired", "cancelled"]


class Stage(NamedTuple):
    """A part of a request's time, by the monotonic clock in seconds."""

    name: StageName
    began: float
    ended: float
    images: int
    largest_batch: int = 0  # most images that went through the model together with one of these

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass(eq=False)
class RequestRecord:
    """A request from its whole body to its whole answer. Times are in seconds of the monotonic clock."""

    method: str = ""
    request_id: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    route: str = ""  # the rule, `/v1/models/<name>`, never the path; "" where there is none
    status: int = 0
    error: str = ""  # type of the error that the client was told
    model: str = ""  # as it is served; "" until one is chosen
    version: int = 0
    stages: list[Stage] = field(default_factory=list)
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # images by what became of them
    answered_at: float | None = None  # when the last rows came
    trace_id: str = ""
    trace: Any = None  # `service.tracing.OpenTrace`, where traces are made

    @property
    def images(self) -> int:
        """Images that were seen in the request."""
        return self.outcomes.total()

    @contextmanager
    def stage(self, name: StageName, images: int) -> Iterator[None]:
        """Time a `with` block, to its end or its error, after which none of the images has an answer."""
        began = time.monotonic()
        try:
            yield
        except GraftError as exc:
            self.outcomes[lost(exc)] += images
            raise
        finally:
            self.stages.append(Stage(name, began, time.monotonic(), images))

    def finish(self) -> None:
        """The answer is made; what came after the last rows was spent on it."""
        self.ended = time.monotonic()
        if self.answered_at is not None:
            self.stages.append(Stage("encode", self.answered_at, self.ended, self.outcomes["answered"]))

    def notes(self) -> Mapping[str, Any]:
        """What the access log tells beside the status."""
        known = {
            "route": self.route,
            "model": self.model,
            "version": self.version,
            "images": self.images,
            "error": self.error,
            "trace_id": self.trace_id,
        }
        return {name: value for name, value in known.items() if value}


def lost(error: GraftError) -> Outcome:
    """What became of all images of a request that ended with this error."""
    if isinstance(error, DeadlineError):
        return "expired"
    return "cancelled" if isinstance(error, CancelledError) else "refused"

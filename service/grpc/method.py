"""What a method of a service is, and a request of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.caller import Caller
from service.front.gate import LaneName
from service.front.wsgi import ClientGone
from service.grpc.status import Failure
from service.protocols.asking import deadline
from service.records import RequestRecord
from service.registry import Registry
from service.safety import Scope


@dataclass(eq=False)
class Asked:
    """A request: what becomes of it, and whether its client still waits, until when by the monotonic clock."""

    record: RequestRecord
    request_id: str
    ends: float = math.inf
    gone: ClientGone = field(default_factory=ClientGone)
    # What is told beside an answer whose message has no place for it.
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def caller(self, registry: Registry, timeout_s: float | None = None) -> Caller:
        """Who waits for the answer. `timeout_s`: a shorter time that the message names."""
        return Caller(min(self.ends, deadline(registry, self.record, timeout_s)), self.gone, self.record)


Answer = Callable[[Any, Asked], Any]  # a message to another, or to the steps of one


@dataclass(frozen=True)
class Method:
    """A method: the full name of its message, what answers that, who may call it, and which threads work for it.

    `refuse` makes an answer of a failure, where each message of a stream is a request and has its own; its
    first argument is None for a message that was not read. Without it there is one message and one answer.
    """

    message: str
    answer: Answer
    scope: Scope = "infer"
    lane: LaneName = "quick"
    refuse: Callable[[Any, Failure], Any] | None = None


Methods = Mapping[str, Method]  # by path: /package.Service/Method


def services_of(methods: Methods) -> set[str]:
    """Full names of the services that methods belong to."""
    return {path.split("/")[1] for path in methods}

"""What connections share: the application, which requests may in, the bytes of all bodies, and the access log."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import logging
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from service.front.limits import ByteBudget, Limits
from service.front.plain import Headers, Request
from service.front.ration import Ration
from service.front.requests import Refused, check
from service.front.spooling import Spool
from service.front.threads import DaemonThreads
from service.front.wsgi import Answer, Call
from service.steps import Steps
from service.turns import Turns

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_PATH = 200  # characters of a path in the access log
_RELIEF_S = 2.0
_MUCH = 32 << 20  # bytes of bodies, after which it is worth the while to look for what can be given back
_TURN = 1 << 19  # bytes of bodies that a turn of the loop goes on with: they take about a millisecond
_BODILESS = ("GET", "HEAD", "OPTIONS")  # methods
_BODY = (b"content-length", b"transfer-encoding")  # headers that say that one comes
_log = logging.getLogger("graft.access")


LaneName = Literal["work", "quick", "instant"]


@dataclass
class Lane:
    """Requests of one kind: how many may be worked on at once, and by which threads. Counted in the loop."""

    name: LaneName
    most: int
    threads: DaemonThreads | None  # None: the loop answers by itself, at once
    running: int = 0
    each_s: float = 0.0  # of a request's time, for each of those that were there with it; moving average

    @property
    def seconds_to_empty(self) -> float:
        """How long what is worked on, or waits for it, will take, as fast as it went lately."""
        return self.running * self.each_s

    def answered(self, seconds: float, among: int) -> None:
        """A request has its answer; when it came there were so many, itself included."""
        weight = 0.2 if self.each_s else 1.0
        self.each_s += weight * (seconds / among - self.each_s)

    @property
    def full(self) -> bool:
        """Whether another request has to be refused."""
        return self.running >= self.most


@dataclass(frozen=True)
class Routing:
    """What a front has to know of its application before a thread is taken.

    `instant`: paths that are answered at once, by the loop. `works`: whether a request (method, path) needs a worker.
    `retry_after`: seconds until a refused one should come again. `refusal`: the JSON that a refused one gets.
    `stopping` is called when the server begins to stop; `refused` hears of each request (method, path, both "" where
    none could be read) that the front answers itself, with the status; `relieved` is called, in a thread, some time
    after many bytes of bodies were let go. `unwelcome`: whether a request (method, path, header Authorization) will be
    turned away for who sends it, or as nothing is there; the application is then called without the body. `shared`:
    headers that let a page of an origin, that header's value, read a refusal. `spool`: where the body of a POST (path,
    content type) goes that is too large for memory; None for one that is held there. `direct`: the steps of an answer
    that needs no application; None where it does.
    """

    instant: Collection[str]
    works: Callable[[str, str], bool]
    retry_after: Callable[[], float]
    refusal: Callable[[str, Refused], bytes]
    stopping: Callable[[], None] = lambda: None
    refused: Callable[[str, str, int], None] = lambda method, path, status: None
    relieved: Callable[[], None] = lambda: None
    shared: Callable[[str], Mapping[str, str]] = lambda origin: {}
    unwelcome: Callable[[str, str, str | None], bool] = lambda method, path, authorization: False
    spool: Callable[[str, str], Spool | None] | None = None
    direct: Callable[[Call], Steps[Answer] | None] = lambda call: None


class Gate:
    """Lets requests in, each to the threads of its kind, or says why not. Used in the loop alone."""

    def __init__(
        self,
        app: WSGIApplication,
        routing: Routing,
        limits: Limits,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
        turns: Turns | None = None,
    ) -> None:
        """`turns`: at the cores, for requests that need a worker."""
        self.app, self.limits, self.address, self.tls = app, limits, address, tls
        self.scheme = "https" if tls else "http"
        self.draining = False
        self.budget = ByteBudget(limits.held_bytes)
        self.ration = Ration(_TURN)
        self.streams = DaemonThreads(limits.helpers, "graft-stream")
        self._routing = routing
        self._workers = DaemonThreads(limits.workers, "graft-worker", turns)
        self._helpers = DaemonThreads(limits.helpers, "graft-helper")
        self.lanes: Mapping[LaneName, Lane] = {
            "work": Lane("work", limits.workers, self._workers),
            "quick": Lane("quick", 8 * limits.helpers, self._helpers),
            "instant": Lane("instant", 1 << 30, None),
        }

    def drain(self) -> None:
        """From now on every answer closes its connection. From any thread."""
        self.draining = True
        self._routing.stopping()

    async def relieve(self) -> None:
        """Have memory given back whenever many bytes of bodies were held and no longer are. Goes on until cancelled."""
        while True:
            await asyncio.sleep(_RELIEF_S)
            if self.budget.peak >= _MUCH > 4 * self.budget.held:
                self.budget.peak = self.budget.held
                self._helpers.submit(self._routing.relieved)

    def unwelcome(self, method: str, path: str, request: Request) -> bool:
        """Whether the body need not be read: the application turns the request away, or its method has no use for one.

        A stranger could fill the memory for bodies with what nobody asked for.
        """
        if method in _BODILESS and any(name in _BODY for name, _ in request.headers):
            return True
        authorization = next((value for name, value in request.headers if name == b"authorization"), None)
        text = None if authorization is None else authorization.decode("latin-1")
        return self._routing.unwelcome(method, path, text)

    def spool(self, request: Request) -> Spool | None:
        """Where the body of a request goes that is too large for memory."""
        if self._routing.spool is None or request.method != b"POST":
            return None
        kind = next((value for name, value in request.headers if name == b"content-type"), b"")
        path = request.target.partition(b"?")[0].decode("latin-1")
        return self._routing.spool(path, kind.decode("latin-1"))

    def close(self) -> None:
        """End the threads when they have nothing more to do."""
        for threads in (self._workers, self._helpers, self.streams):
            threads.shutdown()

    def lane(self, method: str, path: str) -> Lane:
        """Which threads answer a request."""
        if path in self._routing.instant:
            return self.lanes["instant"]
        return self.lanes["work" if self._routing.works(method, path) else "quick"]

    def welcome_at_once(self, request: Request) -> bool:
        """Whether a request needs a worker, and there is nothing to say to it and nothing to do before."""
        if self.spool(request) is not None:
            return False
        try:
            check(request, self.limits)
        except Refused:
            return False
        method, path = request.method.decode("ascii"), request.target.partition(b"?")[0].decode("ascii")
        return self.lane(method, path) is self.lanes["work"] and not self.unwelcome(method, path, request)

    def overloaded(self, lane: Lane) -> Refused:
        """The refusal of a request for which there is no place."""
        return Refused(
            429,
            f"{lane.running} requests are worked on, as many as this server takes. Try again later, or send several "
            "images in one request",
            max(self._routing.retry_after(), lane.seconds_to_empty),
        )

    def direct(self, call: Call) -> Steps[Answer] | None:
        """The steps of the answer to a request that needs no application."""
        return self._routing.direct(call)

    def refusal(self, path: str, refused: Refused) -> bytes:
        """The body of a refusal, in the form of the protocol that the path belongs to."""
        return self._routing.refusal(path, refused)

    def shared(self, request: Request | None) -> Headers:
        """Headers that let the page that asks read a refusal."""
        headers = request.headers if request is not None else ()
        origin = next((value.decode("latin-1") for name, value in headers if name == b"origin"), "")
        return [
            (name.lower().encode(), value.encode()) for name, value in self._routing.shared(origin).items()
        ]

    def own_headers(self) -> Headers:
        """What every answer carries."""
        return [(b"date", _date(int(time.time()))), (b"server", b"graft")]

    def log_access(self, call: Call, status: int, size: int, seconds: float) -> None:
        """One line for each answered request."""
        log_request(
            call.method,
            call.target.partition("?")[0],
            status,
            client=call.client[0],
            bytes=size,
            seconds=seconds,
            request_id=call.request_id,
            **call.notes,
        )

    def log_refusal(
        self, request: Request | None, refused: Refused, client: str, size: int, request_id: str
    ) -> None:
        """One line for each request that was refused before anybody worked on it."""
        method = request.method.decode("ascii") if request is not None else ""
        path = request.target.partition(b"?")[0].decode("latin-1") if request is not None else ""
        self._routing.refused(method, path, refused.status)
        log_request(
            method or "-",
            path or "-",
            refused.status,
            client=client,
            bytes=size,
            seconds=0.0,
            request_id=request_id,
            reason=refused.message,
        )


def log_request(method: str, path: str, status: int, **known: object) -> None:
    """A line of the access log: the path without its query, in which secrets may stand, and not all of a long one."""
    path = path if len(path) <= _PATH else f"{path[:_PATH]}..."
    if not _log.isEnabledFor(logging.INFO):
        return
    # As `_log.info` would, which looks for its caller's line each time.
    record = logging.LogRecord(
        _log.name, logging.INFO, __file__, 0, "%s %s %d", (method, path, status), None, "log_request"
    )
    vars(record).update(known, method=method, path=path, status=status)
    _log.handle(record)


@functools.lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return email.utils.formatdate(second, usegmt=True).encode("ascii")

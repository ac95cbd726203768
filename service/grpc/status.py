"""How a refusal is told over gRPC: a status code for each HTTP status, the same sentence, and when to come again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import grpc

from models.errors import BusyError, GraftError, TokenError
from service.errors import status_of
from service.front.limits import whole_seconds
from service.front.requests import Refused

CODES = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_LONGEST = (
    2000  # bytes of a sentence: a client takes 8 KiB of trailers, where some signs have three bytes for one
)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Failure:
    """What a client is told of an error; `status` is the one that HTTP has for it."""

    status: int
    message: str
    trailers: Metadata = ()

    @property
    def code(self) -> grpc.StatusCode:
        """The status code."""
        return CODES[self.status]


def failure_of(error: GraftError | Refused) -> Failure:
    """What a client is told of an error of the application, or of a refusal of the front."""
    if isinstance(error, Refused):
        return Failure(error.status, _short(f"{error.message}."), _again(error.retry_after))
    trailers = _again(error.retry_after if isinstance(error, BusyError) else None)
    if isinstance(error, TokenError):
        trailers = (("www-authenticate", error.challenge),)
    return Failure(status_of(error), _short(str(error)), trailers)


def _short(text: str) -> str:
    """A sentence that fits into trailers, in UTF-8."""
    data = text.encode("utf-8", "backslashreplace")
    return data.decode() if len(data) <= _LONGEST else f"{data[:_LONGEST].decode('utf-8', 'ignore')}..."


def _again(seconds: float | None) -> Metadata:
    """When to come again: in words of HTTP, and in those that gRPC's own retries heed (gRFC A6)."""
    if seconds is None:
        return ()
    milliseconds = str(math.ceil(1000 * max(seconds, 0.001)))
    return (("retry-after", whole_seconds(seconds)), ("grpc-retry-pushback-ms", milliseconds))

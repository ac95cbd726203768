"""How a failure is told: each protocol has a form of its own, for all below its paths, whoever refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict


class Fault(TypedDict):
    """Why something was not done."""

    type: Annotated[str, "The kind of error, a name that stays the same."]
    message: Annotated[str, "What was given, what was expected, what to do next."]
    request_id: NotRequired[
        Annotated[str, "Of the whole request, as in X-Request-Id; the log tells more by it."]
    ]


class Failure(TypedDict):
    """The answer to a request that is refused. Where each image has its own reason, `results` lists them."""

    error: Fault
    results: NotRequired[list[dict[str, Any]]]


class FailureText(TypedDict):
    """The answer to a request that is refused."""

    error: Annotated[str, "What was given, what was expected, what to do next."]


@dataclass(frozen=True)
class Refusal:
    """What a client is told; `kind` is the type of the error, `param` the part of the request that it is about."""

    status: int
    kind: str
    message: str
    request_id: str = ""
    param: str | None = None


@dataclass(frozen=True)
class Shape:
    """The form of a protocol: which paths are its own, the JSON of a refusal, and the type of that JSON."""

    paths: re.Pattern[str]
    body: Callable[[Refusal], Mapping[str, Any]]
    type: type


def fault(refusal: Refusal) -> Fault:
    """A refusal in Graft's own form."""
    told: Fault = {"type": refusal.kind, "message": refusal.message}
    if refusal.request_id:
        told["request_id"] = refusal.request_id
    return told


def text_body(refusal: Refusal) -> Mapping[str, Any]:
    """A refusal as a text alone."""
    return {"error": refusal.message}


# Graft's own, for every path that no other protocol has.
GRAFT = Shape(re.compile(""), lambda refusal: {"error": fault(refusal)}, Failure)


def shape_of(shapes: Sequence[Shape], path: str) -> Shape:
    """The form in which a refusal of a path, not quoted any more, is told."""
    return next((shape for shape in shapes if shape.paths.match(path)), GRAFT)

"""What every answer says to browsers: what they may do with it, and which pages may read it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flask import Flask, Request, Response, request

from service.front.plain import Headers

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # A page brings its own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_USUAL = {name.lower().encode(): value.encode() for name, value in _ALWAYS.items()}
_METHODS = "GET, HEAD, POST, OPTIONS"
_SENT = "Content-Type, Content-Encoding, Authorization, X-Request-Id, traceparent, tracestate"
_READ = "X-Request-Id, Retry-After, traceparent"
_REMEMBERED_S = 600


def address_browsers(app: Flask, allowed: Callable[[], Collection[str]]) -> None:
    """Let all answers of `app` have headers for browsers.

    Pages of the origins that `allowed` gives at that moment (`*`: all) may ask and read (CORS).
    """

    app.after_request(lambda response: addressed(response, request, allowed()))


def addressed(response: Response, request: Request, origins: Collection[str]) -> Response:
    """An answer with its headers for browsers; pages of `origins` may read it."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    if origins:
        _share(response, request, origins)
    return response


def with_usual(headers: Headers) -> Headers:
    """Headers of an answer as they are sent, with those for browsers: `addressed` where no page may read it."""
    known = {name for name, _ in headers}
    return [*headers, *(header for header in _USUAL.items() if header[0] not in known)]


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what a page of another origin may send."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def shared_with(origin: str, origins: Collection[str]) -> dict[str, str]:
    """Headers by which a page of `origin` may read an answer, where it is one of some (https://fetch.spec.whatwg.org/#cors-protocol)."""
    if not origins:
        return {}
    if not origin or not ("*" in origins or origin in origins):
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": "*" if "*" in origins else origin,
        "Access-Control-Expose-Headers": _READ,
    }


def _share(response: Response, request: Request, origins: Collection[str]) -> None:
    """Let the page that asks read the answer."""
    shared = shared_with(request.headers.get("Origin", ""), origins)
    response.headers.add("Vary", shared.pop("Vary"))
    response.headers.update(shared)
    if shared and is_preflight(request):
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", _METHODS)
        response.headers["Access-Control-Allow-Headers"] = _SENT
        response.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)

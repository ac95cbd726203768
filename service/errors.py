"""One table and one handler: every error becomes JSON with a status, in the form of the protocol (`shapes.py`).

Graft's own: {"error": {"type": "ImageError", "message": "what was given, what was expected, what to do",
"request_id": "..."}}. The id is that of the header X-Request-Id, by which the log tells more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from models import errors
from models.errors import BusyError, FieldError, GraftError, TokenError
from service.front.limits import whole_seconds
from service.front.wsgi import REQUEST_ID
from service.openapi.routes import json_response
from service.records import RECORD
from service.shapes import Refusal, Shape, fault, shape_of

STATUS: dict[type[GraftError], int] = {
    errors.GraftError: 500,
    errors.InputError: 400,
    errors.FieldError: 400,
    errors.ImageError: 422,
    errors.MissingError: 404,
    errors.SourceError: 400,
    errors.ModelError: 400,
    errors.UnknownModelError: 404,
    errors.CutError: 400,
    errors.WeightsError: 400,
    errors.StoreError: 502,
    errors.ChecksumError: 502,
    errors.OfflineError: 502,
    errors.OutputError: 500,
    errors.FullError: 507,
    errors.ConflictError: 409,
    errors.DeviceError: 500,
    errors.LibraryError: 501,
    errors.GraphError: 400,
    errors.ShapeError: 400,
    errors.GradientError: 400,
    errors.FeedError: 400,
    errors.NumericsError: 500,
    errors.AccessError: 403,
    errors.TokenError: 401,
    errors.BusyError: 503,
    errors.OverloadedError: 429,
    errors.UnsupportedError: 501,
    errors.DeadlineError: 504,
    errors.CancelledError: 499,
}
_HINTS = {
    404: "Nothing is at this address. See /v1/models for what is served.",
    405: "This address takes other methods; see the Allow header.",
    413: "The request is too large. Send fewer or smaller images.",
}


def error_json(error: GraftError) -> dict[str, str]:
    """The place of an error in the tree and its message."""
    return {"type": type(error).__name__, "message": str(error)}


def status_of(error: GraftError) -> int:
    """The HTTP status of an error."""
    return STATUS[type(error)]


def failure(error: GraftError, asked: Request, **fields: Any) -> Response:
    """The answer to a request for an error in Graft's own form; `fields` stand beside it."""
    response = json_response(error=fault(_refusal(error, asked)), **fields)
    return _with_headers(response, error)


def _with_headers(response: Response, error: GraftError) -> Response:
    """An answer with the status of an error, and what headers say of it."""
    response.status_code = status_of(error)
    if isinstance(error, BusyError):
        response.headers["Retry-After"] = whole_seconds(error.retry_after)
    if isinstance(error, TokenError):
        response.headers["WWW-Authenticate"] = error.challenge
    return response


def _refusal(error: GraftError, asked: Request) -> Refusal:
    """What a client is told about an error."""
    field = error.field if isinstance(error, FieldError) else None
    return _told(asked, status_of(error), type(error).__name__, str(error), field)


def _told(asked: Request, status: int, kind: str, message: str, param: str | None = None) -> Refusal:
    """What a client is told about its whole request; the record of it knows then, too."""
    if RECORD in asked.environ:
        asked.environ[RECORD].error = kind
    return Refusal(status, kind, message, asked.environ.get(REQUEST_ID, ""), param)


def _id(request_id: str) -> dict[str, str]:
    """What a line of the log says of the request, where it has an id."""
    return {"request_id": request_id} if request_id else {}


def row_error(error: Exception, request_id: str) -> GraftError:
    """Why an image of a request has no result: an error of ours as it is, a fault of the service without its inside."""
    if isinstance(error, GraftError):
        return error
    logging.getLogger("graft").error("an image was not answered", exc_info=error, extra=_id(request_id))
    return GraftError("a fault in the service; its log has more.")


def handle_errors(app: Flask, shapes: Sequence[Shape]) -> None:
    """Let `app` answer every error in JSON, each in the form that its path has among `shapes`, or in Graft's own."""

    def known() -> dict[str, str]:
        return _id(request.environ.get(REQUEST_ID, ""))

    def answer(refusal: Refusal) -> str:
        text: str = app.json.dumps(shape_of(shapes, request.path).body(refusal))
        return text + "\n"

    def graft_error(error: GraftError) -> Response:
        if status_of(error) == 500:
            app.logger.error("%s %s: %s", request.method, request.path, error, exc_info=error, extra=known())
        response = Response(answer(_refusal(error, request)), content_type="application/json")
        return _with_headers(response, error)

    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        response = Response(headers=[*error.get_headers(request.environ)])  # Allow, Location, ...
        usual = error.description in (None, type(error).description)
        message = (_HINTS.get(status) if usual else None) or error.description or error.name
        response.data = answer(_told(request, status, error.name.replace(" ", ""), message))
        response.content_type = "application/json"
        response.status_code = status
        return response

    def unexpected(error: Exception) -> Response:
        app.logger.exception("%s %s", request.method, request.path, exc_info=error, extra=known())
        refusal = _told(request, 500, "InternalError", "A fault in the service; its log has more.")
        return Response(answer(refusal), 500, content_type="application/json")

    app.register_error_handler(GraftError, graft_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, unexpected)

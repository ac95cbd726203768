"""OpenAI's embeddings, of images in place of texts: an image is a data URI. Models are listed at /v1/models.

Source: https://platform.openai.com/docs/api-reference/embeddings, and the client's own code, which asks for base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

from flask import Response, jsonify, request

from models.errors import FieldError, ImageError
from service.bodies.json_images import image_of_base64
from service.bodies.upload import Upload
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import (
    caller_of,
    check_count,
    check_vectors,
    checked_fields,
    decode_all,
    json_of_body,
)
from service.protocols.views import vectors
from service.records import RECORD
from service.registry import Registry
from service.shapes import Refusal, Shape

_FORM = '{"model": "<name>", "input": "data:image/jpeg;base64,..."}, or a list of such texts'
_SHOWN = 40


class OpenAIFault(TypedDict):
    """Why something was not done."""

    message: Annotated[str, "What was given, what was expected, what to do next."]
    type: str
    param: Annotated[str | None, "The field that it is about."]
    code: str | None


class OpenAIFailure(TypedDict):
    """The answer to a request that is refused."""

    error: OpenAIFault


class EmbeddingsRequest(TypedDict, total=False):
    """Images to be embedded."""

    model: str
    input: Annotated[list[str] | str, "Images as data URIs."]
    encoding_format: Literal["float", "base64"]
    dimensions: Annotated[int, "As many as the model gives; other numbers are refused."]
    user: Annotated[str, "Who asks; nothing comes of it."]


class Embedding(TypedDict):
    """The features of an image, of length 1."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, "Numbers, or base64 of little-endian float32."]


class Usage(TypedDict):
    """Tokens, of which images have none."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(TypedDict):
    """An embedding of each image, in the order of the request."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


def _body(refusal: Refusal) -> Mapping[str, Any]:
    """A refusal as OpenAI's clients read it."""
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    usual = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refusal.message,
            "type": types.get(refusal.status, usual),
            "param": refusal.param,
            "code": codes.get(refusal.status),
        }
    }


SHAPE = Shape(re.compile(r"/v1/embeddings(/|$)"), _body, OpenAIFailure)


def routes(registry: Registry) -> Routes:
    """The route of embeddings."""
    routes = Routes("openai", "/v1", OpenAIFailure)

    @routes.post("/embeddings", body={JSON: EmbeddingsRequest}, answer=Embeddings, statuses=(404,))
    def embeddings(_: NoParameters) -> Response:
        """Gives the features of images as OpenAI gives embeddings of texts: vectors of length 1."""
        caller = caller_of(registry, request)
        with registry.bodies.memory.share() as share:
            fields = checked_fields(
                json_of_body(registry, share, _FORM),
                _FORM,
                {"model", "input"},
                {"encoding_format", "dimensions", "user"},
            )
            name, as_text = _text(fields, "model"), _in_base64(fields)
            uploads = _uploads(fields.pop("input"))
            check_count(registry, len(uploads))
            with registry.use(name, record=request.environ[RECORD]) as served:
                features = served.feature_model(None, "avg", "l2")
                _check_dimensions(fields, check_vectors(registry, features, len(uploads)))
                try:
                    images = decode_all(registry, served, uploads, caller)
                except ImageError as exc:
                    raise FieldError(str(exc), "input") from exc
                rows = vectors(served, images, features, caller)
        data: list[Embedding] = [
            {
                "object": "embedding",
                "index": i,
                "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
                if as_text
                else row.tolist(),
            }
            for i, row in enumerate(rows)
        ]
        answer: Embeddings = {
            "object": "list",
            "data": data,
            "model": served.name,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }
        return jsonify(answer)

    return routes


def _uploads(given: Any) -> list[Upload]:
    texts = given if isinstance(given, list) else [given]
    uploads = []
    for i, text in enumerate(texts):
        name = f"input[{i}]" if isinstance(given, list) else "input"
        if not isinstance(text, str) or not text.startswith("data:"):
            raise FieldError(
                f"{name} is {repr(text)[:_SHOWN]}; texts and tokens have no embedding here. Send an image as "
                "data:image/jpeg;base64,...",
                name,
            )
        data = image_of_base64(text, name)
        if isinstance(data, ImageError):
            raise FieldError(str(data), name)
        uploads.append(Upload(name, data))
    return uploads


def _text(fields: dict[str, Any], name: str) -> str:
    if not isinstance(fields[name], str):
        raise FieldError(f"{name} is {repr(fields[name])[:_SHOWN]}; expected text.", name)
    return str(fields[name])


def _in_base64(fields: dict[str, Any]) -> bool:
    encoding = fields.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise FieldError(
            f"encoding_format is {repr(encoding)[:_SHOWN]}; expected float or base64.", "encoding_format"
        )
    return bool(encoding == "base64")


def _check_dimensions(fields: dict[str, Any], width: int) -> None:
    wanted = fields.get("dimensions", width)
    if isinstance(wanted, bool) or wanted != width:
        raise FieldError(
            f"dimensions is {repr(wanted)[:_SHOWN]}; this model's embeddings have {width} and cannot be cut. Leave it "
            "out.",
            "dimensions",
        )

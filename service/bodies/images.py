"""From a request to its images, not decoded yet: a form, the bytes of one file, or JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from feature_extraction.fetching import Fetcher
from models.errors import ImageError, InputError
from service.bodies.forms import images_of_form
from service.bodies.json_images import images_of_json, parse_json
from service.bodies.memory import Memory, Share
from service.bodies.packing import unpacked
from service.bodies.upload import Upload
from service.caller import Caller
from service.config import ServiceConfig
from service.turns import end_turn

# curl --data-binary sends the type of a web form unless it is told another
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")
_TYPES = "multipart/form-data, an image type, application/octet-stream, or application/json"


class ImageAddress(TypedDict):
    """An image that the service fetches, where it was started so that it may."""

    url: Annotated[str, "https://host/path, or http."]


class ImageList(TypedDict):
    """Images in JSON."""

    images: list[Annotated[str, "An image file as base64, or as a data URI with it."] | ImageAddress]


_FILES = {
    "type": "object",
    "description": "Image files, in fields of any name.",
    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    "required": ["image"],
    "additionalProperties": False,
}
# What a request that carries images may be, by its content type.
IMAGES = {
    "image/*": None,
    "application/octet-stream": None,
    "multipart/form-data": _FILES,
    "application/json": ImageList,
}


@dataclass(frozen=True)
class RequestWatch:
    """A request that waits for an image."""

    caller: Caller
    share: Share

    @property
    def deadline(self) -> float:
        """Until when it waits."""
        return self.caller.deadline

    def check(self) -> None:
        """As `Caller.check`."""
        self.caller.check()

    def take(self, count: int) -> None:
        """As `Share.take`."""
        self.share.take(count)

    def opened(self, shut: Callable[[], None]) -> None:
        """Give the connection up when the client leaves."""
        if self.caller.gone is not None:
            self.caller.gone.then(shut)


class ImageBodies:
    """Reads the images of requests. Safe to use from all threads."""

    def __init__(self, config: ServiceConfig, fetcher: Fetcher | None = None) -> None:
        self.config = config
        self.memory = Memory(config.max_unpacked_mb << 20)
        self._fetcher = fetcher

    @contextmanager
    def uploads(self, request: Request, caller: Caller) -> Iterator[list[Upload]]:
        """The images of a request, as long as the block runs: memory for them is counted until then.

        Raises:
            InputError: no images in it, too many, or a body that is not what it says.
            UnsupportedMediaType: a content type that cannot hold images, or an unknown coding.
            RequestEntityTooLarge: too many bytes.
            BusyError: there is no memory for it now.
            DeadlineError, CancelledError: as `Caller.check`, while images are fetched.
        """
        with self.memory.share() as share:
            images = self._uploads(request, caller, share)
            if not images:
                raise InputError(
                    'the request holds no image; expected at least one file in the form, or in "images".'
                )
            yield images

    def _uploads(self, request: Request, caller: Caller, share: Share) -> list[Upload]:
        kind, most = request.mimetype, self.config.max_images
        if kind not in ("multipart/form-data", "application/json", *_RAW) and not kind.startswith("image/"):
            raise UnsupportedMediaType(f"the content type is {kind[:80]!r}; expected {_TYPES}.")
        body = self.body(request, share)
        if kind == "multipart/form-data":
            return images_of_form(body, request.mimetype_params.get("boundary"), most, share)
        if kind == "application/json":
            values = parse_json(body, share)
            del body
            return self._listed(values, caller, share)
        if not body:
            raise InputError(f"the request has no body; expected an image: {_TYPES}.")
        return [Upload("image", body)]

    def _listed(self, values: Any, caller: Caller, share: Share) -> list[Upload]:
        uploads: list[Upload] = []
        for entry in images_of_json(values, self.config.max_images):
            uploads.append(
                entry if isinstance(entry, Upload) else self._fetched(entry, len(uploads), caller, share)
            )
        return uploads

    def _fetched(self, url: str, place: int, caller: Caller, share: Share) -> Upload:
        config = self.config
        if not config.allow_urls:
            raise InputError(
                "this service fetches no images; send their bytes. Who runs it may allow hosts with --allow-urls."
            )
        name = f"images[{place}]"
        try:
            fetcher = self._fetcher or Fetcher(config.allow_urls, config.max_request_bytes, config.fetch_s)
            end_turn()
            return Upload(name, fetcher.fetch(url, name, RequestWatch(caller, share)))
        except ImageError as exc:
            return Upload(name, exc)

    def body(self, request: Request, share: Share) -> bytes:
        """The body of a request as it was before it was packed.

        Raises:
            InputError: it is not packed as it says, or is cut off.
            RequestEntityTooLarge: too many bytes.
            UnsupportedMediaType: an unknown coding.
            BusyError: there is no memory for it now.
        """
        stream, most = request.environ["wsgi.input"], self.config.max_request_bytes
        if isinstance(stream, io.BytesIO):
            # The front has read all of it already: this takes no copy, as reading would, and leaves none behind.
            body = stream.getvalue()
            request.environ["wsgi.input"] = io.BytesIO()
        else:
            body = request.get_data(cache=False)
        if len(body) > most:
            raise RequestEntityTooLarge
        return unpacked(body, request.headers.get("Content-Encoding", ""), most, share)

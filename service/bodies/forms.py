"""Images as files of a form (multipart/form-data, RFC 7578), held in memory alone."""

from __future__ import annotations

from collections.abc import Iterator

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from models.errors import InputError
from service.bodies.memory import Share
from service.bodies.upload import Upload, too_many_images

_STEP = 1 << 16  # bytes that the decoder is given at once


def images_of_form(body: bytes, boundary: str | None, most: int, share: Share) -> list[Upload]:
    """The files of a form, in their order, whatever their fields are called.

    Raises:
        InputError: no form, one without a boundary, with fields that are no files, or with too many files.
        BusyError: there is no memory for it now.
    """
    if not boundary:
        raise InputError(
            "the content type multipart/form-data names no boundary, so nobody can tell the form's parts. Let the "
            "client write this header: curl -F and fetch with a FormData do, when no other is set."
        )
    # A line with the boundary begins each part, and another ends the form: a bound, before anything is built.
    line = b"--" + boundary.encode("latin-1", "replace")
    parts = body.startswith(line) + body.count(b"\n" + line) - 1
    if parts > most:
        raise too_many_images(parts, most)
    share.take(len(body))
    return list(_files(body, boundary))


def _files(body: bytes, boundary: str) -> Iterator[Upload]:
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"))
    name, pieces, ended = "", list[bytes](), False
    try:
        for event in _events(decoder, body):
            if isinstance(event, Field):
                raise InputError(
                    f"the form has a field that is no file: {event.name[:100]!r}. Send images as files (curl -F "
                    "image=@photo.jpg) and parameters in the address (?top_k=3)."
                )
            if isinstance(event, File):
                name, pieces = event.filename or event.name or "image", []
            elif isinstance(event, Data):
                pieces.append(event.data)
                if not event.more_data:
                    yield Upload(name, b"".join(pieces))
            ended = isinstance(event, Epilogue)
    except (ValueError, RequestEntityTooLarge) as exc:
        raise InputError(f"the body is no form ({exc}); expected parts that its boundary parts.") from exc
    if not ended:
        raise InputError("the form is cut off before its end. Send it again.")


def _events(decoder: MultipartDecoder, body: bytes) -> Iterator[object]:
    view = memoryview(body)
    for start in range(0, len(body) + 1, _STEP):
        decoder.receive_data(bytes(view[start : start + _STEP]))
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            yield event
        if isinstance(event, Epilogue):
            yield event
            return
    try:
        decoder.receive_data(None)
        yield decoder.next_event()
    except ValueError as exc:
        raise InputError("the form is cut off before its end. Send it again.") from exc

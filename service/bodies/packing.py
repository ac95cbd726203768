"""Content codings: bodies that came packed, unpacked within bounds (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import io
import zlib
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from models.errors import InputError
from service.bodies.memory import Share

ACCEPTED = "gzip, deflate"
_GIVEN, _TAKEN = 1 << 16, 1 << 20  # bytes that the unpacker is given, and gives, at once
_MEMBERS = 2048  # of gzip: blocked gzip has one for each 64 KiB
# zlib's number for the format: gzip, zlib's own, and deflate without a header, which some clients call deflate too.
_GZIP, _ZLIB, _BARE = 31, 15, -15


class UnknownCoding(UnsupportedMediaType):
    """A coding that is not taken; the answer says which are (RFC 7694)."""

    def get_headers(self, *arguments: Any, **named: Any) -> list[tuple[str, str]]:
        """Those of the answer."""
        return [*super().get_headers(*arguments, **named), ("Accept-Encoding", ACCEPTED)]


def unpacked(body: bytes, coding: str, most: int, share: Share) -> bytes:
    """A body without its coding, a value of the header Content-Encoding; at most so many bytes.

    Raises:
        InputError: it is not packed as it says, or is cut off.
        RequestEntityTooLarge: there are more bytes in it.
        UnsupportedMediaType: a coding that is not taken.
        BusyError: there is no memory for it now.
    """
    names = [name for part in coding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if not names:
        return body
    if len(names) > 1:
        raise UnknownCoding(
            f"the body is packed {len(names)} times ({coding[:60]}); expected once: {ACCEPTED}."
        )
    if names[0] in ("gzip", "x-gzip"):
        return _inflated(body, _GZIP, "gzip", most, share)
    if names[0] == "deflate":
        # The first two bytes of zlib's format are a number that 31 divides (RFC 1950).
        own = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflated(body, _ZLIB if own else _BARE, "deflate", most, share)
    raise UnknownCoding(f"the coding of the body is {coding[:60]!r}; expected {ACCEPTED}, or none.")


def _inflated(body: bytes, format_: int, name: str, most: int, share: Share) -> bytes:
    content = io.BytesIO()  # gives its bytes away without a copy
    unpacker, position, members = zlib.decompressobj(format_), 0, 1
    rest = b""  # of what the unpacker was given
    while rest or position < len(body):
        if not rest:
            rest = body[position : position + _GIVEN]
            position += len(rest)
        if unpacker.eof:  # gzip may have several members, one behind the other
            members += 1
            if format_ != _GZIP or members > _MEMBERS:
                raise InputError(f"the body goes on behind the end of its {name}.")
            unpacker = zlib.decompressobj(format_)
        try:
            piece = unpacker.decompress(rest, _TAKEN)
        except zlib.error as exc:
            raise InputError(f"the body is no {name} ({exc}), as its Content-Encoding says.") from exc
        rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if content.tell() + len(piece) > most:
            raise RequestEntityTooLarge(
                f"the body unpacks to more than {most:,} bytes. Send fewer or smaller images."
            )
        share.take(len(piece))
        content.write(piece)
    if not unpacker.eof:
        raise InputError(f"the {name} of the body is cut off before its end. Send it again.")
    return content.getvalue()

"""Requests as most clients send them, understood at once: what is plain here, h11 reads the same way.

Plain is HTTP/1.1 with one Host, at most one Content-Length and neither a coding of the transfer nor an expectation; a
header in visible ASCII, without folded lines; its end within the bytes that came first. Whatever else comes is h11's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]

_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HEAD = re.compile(
    rb"([A-Z]{1,20}+) (/[\x21-\x7e]*+) HTTP/1\.1\r\n((?:" + _NAME + rb":[\x20-\x7e]*+\r\n)++)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_MODE = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"http2-settings"})
# What the headers of an answer may be (RFC 9110, 5.5).
_LINES = re.compile(rb"(?:" + _NAME + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+")


class Request(NamedTuple):
    """A request without its body: the names of its headers are in lower case."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    http_version: bytes


class PlainRequest(NamedTuple):
    """A plain request, the bytes of its header, and those that its body has."""

    request: Request
    size: int
    body: int


def plain_request(data: bytes, most: int) -> PlainRequest | None:
    """The plain request that `data` begins with; None where it is not plain, not whole, or longer than `most` bytes."""
    head = _HEAD.match(data)
    if head is None or head.end() > most:
        return None
    method, target, lines = head.groups()
    if method == b"CONNECT":
        return None
    headers, hosts, length = [], 0, None
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" ")
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        elif name in _MODE or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        headers.append((name, value))
    if hosts != 1:
        return None
    return PlainRequest(Request(method, target, headers, b"1.1"), head.end(), length or 0)


def header_lines(headers: Headers) -> bytes | None:
    """Headers of an answer as they are sent; None where one would be no header."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return lines if lines.count(b"\n") == len(headers) and _LINES.fullmatch(lines) else None

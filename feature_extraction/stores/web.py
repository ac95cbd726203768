"""Files of an HTTP server, as fsspec calls what is done with them: ranges by RFC 9110, folders by WebDAV (RFC 4918).

All goes through the `Fetcher` that lists use, so that no address is asked that is not public. fsspec's own client would
ask any.
"""

from __future__ import annotations

import base64
import errno
import fnmatch
import netrc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from feature_extraction.fetching import Answer, Fetcher, Patience, Question
from feature_extraction.stores.ranges import RangedFile
from models.errors import ImageError

_MOST_BYTES = 1 << 30  # of one answer
_SECONDS = 300.0  # that one may take
_REFUSALS = (401, 403, 404)  # to anything
_NO_METHOD = (405, 501)
# What else means something here, by method; any other answer is an error.
_WRITTEN = (200, 201, 204)
_ANSWERS = {
    "GET": (200, 206, 412, 416),
    "PUT": (*_WRITTEN, *_NO_METHOD, 409, 412),
    "DELETE": (200, 202, 204),
    "MKCOL": (*_WRITTEN, *_NO_METHOD, 409),
    "PROPFIND": (200, 207, *_NO_METHOD),
}
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_DAV = "{DAV:}"

Fetch = Callable[[Sequence[str]], Fetcher]  # from these hosts


def _public(hosts: Sequence[str]) -> Fetcher:
    return Fetcher(hosts, _MOST_BYTES, _SECONDS)


class WebFiles:
    """See `feature_extraction.stores.opening.Files`; addresses are whole, as a browser shows them."""

    def __init__(self, fetch: Fetch = _public) -> None:
        """`fetch`: how tests take the place of the network."""
        self._fetch = fetch
        self._creating: set[str] = set()  # servers that have been seen not to write over files

    def info(self, path: str) -> dict[str, Any]:
        """Size, and what tells versions apart: `ETag`, else the time of the last change."""
        if path.endswith("/"):
            return {"name": _bare(path), "type": "directory", "size": 0}
        answer = self._ask(path, headers={"Range": "bytes=0-0"})
        total = _TOTAL.match(answer.headers.get("Content-Range", ""))
        size = int(total[1]) if total else len(answer.content)
        facts = {"name": _bare(path), "type": "file", "size": size, "ranges": answer.status != 200}
        return {**facts, "ETag": answer.headers.get("ETag"), "mtime": answer.headers.get("Last-Modified")}

    def find(self, path: str, *, detail: bool = True) -> dict[str, dict[str, Any]]:
        """All files below a folder, where the server lists it."""
        return {info["name"]: info for info in self._below(path.rstrip("/") + "/")}

    def glob(self, path: str, *, detail: bool = True) -> dict[str, dict[str, Any]]:
        """The files that a pattern means, where the server lists the folder before its first sign."""
        folder = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
        return {
            name: info
            for name, info in self.find(folder).items()
            if fnmatch.fnmatchcase(name, _bare(path).replace("**/", "*"))
        }

    def cat_file(self, path: str, *, start: int, end: int, version: str | None = None) -> bytes:
        """Bytes from `start` to that before `end`; of a server that knows no ranges, out of all of them.

        `version`: the `ETag` that the file must have.
        """
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if version and not version.startswith("W/"):  # a weak one never matches
            headers["If-Match"] = version
        answer = self._ask(path, headers=headers)
        if answer.status == 412 or (version and answer.headers.get("ETag", version) != version):
            raise OSError(errno.ESTALE, "it was changed meanwhile")
        if answer.status == 416:
            return b""
        return answer.content[start:end] if answer.status == 200 else answer.content

    def open(self, path: str, mode: str = "rb", *, block_size: int, cache_type: str) -> RangedFile:
        """A file to be read by ranges."""
        details = self.info(path)

        def read(start: int, end: int) -> bytes:
            return self.cat_file(path, start=start, end=end, version=details["ETag"])

        return RangedFile(details, read, 0 if cache_type == "none" else block_size)

    def pipe_file(self, path: str, value: bytes, *, mode: str) -> None:
        """Write a file; "create" fails where one is there, and where the server would write over it."""
        if mode != "create":
            self._put(path, value)
            return
        if not self._put(path, value, {"If-None-Match": "*"}):
            raise FileExistsError(path)
        host = urlsplit(path).netloc
        if host not in self._creating:  # ask again: it must say that the file is there now
            if self._put(path, value, {"If-None-Match": "*"}):
                raise OSError(
                    errno.ENOTSUP, "it writes over files that are there, although it is asked not to"
                )
            self._creating.add(host)

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self._ask(path, "DELETE")

    def _put(self, path: str, value: bytes, headers: dict[str, str] | None = None) -> bool:
        """Whether a file was written; False where one is there."""
        answer = self._ask(path, "PUT", headers, value, missing=True)
        if answer.status in (404, 409):  # the folder is not there
            self._make_folder(path.rpartition("/")[0])
            answer = self._ask(path, "PUT", headers, value)
        if answer.status in _NO_METHOD:
            raise OSError(errno.ENOTSUP, "it takes no files")
        if answer.status == 409:
            raise OSError(errno.EIO, "it does not make the folder, status 409")
        return answer.status != 412

    def _make_folder(self, path: str) -> None:
        answer = self._ask(f"{path}/", "MKCOL", missing=True)
        if answer.status == 409 and "/" in urlsplit(path).path.strip("/"):
            self._make_folder(path.rpartition("/")[0])
            self._ask(f"{path}/", "MKCOL", missing=True)

    def _below(self, folder: str) -> Iterator[dict[str, Any]]:
        answer = self._ask(folder, "PROPFIND", {"Depth": "1"})
        if answer.status != 207:
            raise OSError(
                errno.ENOTSUP, "the server does not list folders; name files, numbered shards or a list"
            )
        host = "/".join(folder.split("/", 3)[:3])
        for entry in ElementTree.fromstring(answer.content).iter(f"{_DAV}response"):
            place = unquote(urlsplit(entry.findtext(f"{_DAV}href") or "").path)
            address = f"{host}{place}"
            if entry.find(f".//{_DAV}collection") is None:
                size = entry.findtext(f".//{_DAV}getcontentlength") or "0"
                version = entry.findtext(f".//{_DAV}getetag")
                yield {"name": _bare(address), "type": "file", "size": int(size), "ETag": version}
            elif address.rstrip("/") != folder.rstrip("/") and address.startswith(folder):
                yield from self._below(address.rstrip("/") + "/")

    def _ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        missing: bool = False,
    ) -> Answer:
        """What the server answers, as long as it is no refusal; `missing`: nor that nothing is there."""
        address = urlsplit(path)
        # The host that is named itself, and wherever in the public network it sends one.
        fetcher = self._fetch((address.netloc.lower(), "*"))
        question = Question(
            quote(path, safe="%/:?&=+,;@!$'()*~[]"),
            method,
            {**_credentials(path), **(headers or {})},
            body,
            (*_REFUSALS, *_ANSWERS[method]),
        )
        try:
            answer = fetcher.ask(question, path, Patience())
        except ImageError as exc:
            raise OSError(errno.EIO, str(exc)) from exc
        if answer.status in (401, 403):
            raise PermissionError(errno.EACCES, f"status {answer.status}")
        if answer.status == 404 and not missing:
            raise FileNotFoundError(errno.ENOENT, "status 404")
        return answer


def _bare(path: str) -> str:
    return path.partition("://")[2]


def _credentials(path: str) -> dict[str, str]:
    """What `~/.netrc`, or the file that NETRC names, has for a host; it is sent over TLS alone."""
    address = urlsplit(path)
    file = os.environ.get("NETRC") or str(Path.home() / ".netrc")
    if address.scheme != "https" or not os.path.isfile(file):
        return {}
    try:
        login = netrc.netrc(file).authenticators(address.hostname or "")
    except (netrc.NetrcParseError, OSError) as exc:
        raise PermissionError(errno.EACCES, f"{file} cannot be read: {exc}") from exc
    if login is None:
        return {}
    name, _, password = login
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}

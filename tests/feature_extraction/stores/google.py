"""As much of Google Cloud Storage as features need, in memory; its JSON API: cloud.google.com/storage/docs/json_api."""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.feature_extraction.stores.serving import Answering

BUCKET = "bucket"
_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")


class Google(Answering, http.server.BaseHTTPRequestHandler):
    """One bucket, and its objects by name, each with its generation."""

    objects: ClassVar[dict[str, tuple[int, bytes]]] = {}
    generations: ClassVar[Iterator[int]] = itertools.count(1)
    refuses = False

    def do_GET(self) -> None:
        match, query = self.asked(_OBJECT)
        if match is None:
            return self.say(
                200 if self.path.partition("?")[0].endswith(f"/b/{BUCKET}") else 404, {"name": BUCKET}
            )
        if self.refuses:
            return self.say(403, {"error": {"code": 403, "message": "does not have storage.objects access"}})
        if match[1] != BUCKET:
            return self.say(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        if match[2] is None:
            return self.say(200, self.listing(query.get("prefix", [""])[0], query.get("delimiter", [""])[0]))
        name = unquote(match[2])
        generation, data = self.objects.get(name, (0, b""))
        if query.get("generation", [str(generation)]) != [str(generation)] or not generation:
            return self.say(404, {"error": {"code": 404, "message": "No such object"}})
        if query.get("alt") == ["media"]:
            return self.media(data)
        return self.say(200, self.facts(name))

    def do_POST(self) -> None:
        match, query = self.asked(_UPLOAD)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if match is None or match[1] != BUCKET:
            return self.say(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        _, head, content = body.split(b"--==0==", 2)
        name = json.loads(head.split(b"\n\n", 1)[1])["name"]
        if query.get("ifGenerationMatch") == ["0"] and name in self.objects:
            return self.say(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        data = content.split(b"\n\n", 1)[1].removesuffix(b"\n--==0==--")
        Google.objects[name] = next(self.generations), data
        return self.say(200, self.facts(name))

    def do_DELETE(self) -> None:
        match, _ = self.asked(_OBJECT)
        gone = match is None or Google.objects.pop(unquote(match[2]), None) is None
        self.say(404 if gone else 204)

    def asked(self, pattern: re.Pattern[str]) -> tuple[re.Match[str] | None, dict[str, list[str]]]:
        address = urlsplit(self.path)
        return pattern.fullmatch(address.path), parse_qs(address.query)

    def listing(self, prefix: str, delimiter: str) -> dict[str, Any]:
        names = sorted(name for name in self.objects if name.startswith(prefix))
        deeper = [name for name in names if delimiter and delimiter in name[len(prefix) :]]
        folders = {prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter for name in deeper}
        return {
            "items": [self.facts(name) for name in names if name not in deeper],
            "prefixes": sorted(folders),
        }

    def facts(self, name: str) -> dict[str, Any]:
        generation, data = self.objects[name]
        crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
        times = dict.fromkeys(("updated", "timeCreated"), "2026-01-01T00:00:00.000Z")
        return {
            "kind": "storage#object", "name": name, "bucket": BUCKET, "size": str(len(data)),
            "generation": str(generation), "etag": str(generation), "crc32c": crc, **times,
        }  # fmt: skip

    def media(self, data: bytes) -> None:
        if "Range" not in self.headers:
            return self.say(200, data)
        begin, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        if int(begin) >= len(data):
            return self.say(416, b"")
        part = data[int(begin) : int(end or len(data)) + 1]
        return self.say(
            206, part, **{"Content-Range": f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"}
        )

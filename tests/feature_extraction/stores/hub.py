"""As much of the Hugging Face Hub as features need, in memory: one repository of data, whose commits are kept."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

from tests.feature_extraction.stores.serving import Answering

REPOSITORY = "somebody/photos"
_API = re.compile(
    rf"/api/datasets/{REPOSITORY}(?:/(revision|tree|paths-info|preupload|commit)/([^/]+)(?:/(.*))?)?"
)
_FILE = re.compile(rf"/datasets/{REPOSITORY}/resolve/([^/]+)/(.+)")


class Hub(Answering, http.server.BaseHTTPRequestHandler):
    """`commits`: the files of each, by their paths; its name is its number."""

    commits: ClassVar[list[dict[str, bytes]]] = [{}]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if match := _FILE.fullmatch(path):
            files = self.files(match[1])
            if match[2] not in files:
                return self.missing("EntryNotFound")
            return self.file(files[match[2]], match[1])
        match = _API.fullmatch(path)
        if match is None:
            return self.missing("RepoNotFound")
        if match[1] in (None, "revision"):
            facts = {"id": REPOSITORY, "sha": self.name(match[2] or "main"), "private": False, "siblings": []}
            return self.say(200, facts)
        return self.tree(
            self.files(match[2]), (match[3] or "").rstrip("/"), "recursive=true" in self.path.lower()
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match = _API.fullmatch(unquote(self.path.partition("?")[0]))
        if match is None:
            return self.missing("RepoNotFound")
        if match[1] == "paths-info":
            files = self.files(match[2])
            wanted = parse_qs(body.decode())["paths"]
            folders = [
                p for p in wanted if p not in files and any(name.startswith(f"{p}/") for name in files)
            ]
            entries = [self.facts(path, files[path]) for path in wanted if path in files]
            return self.say(
                200, entries + [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in folders]
            )
        if match[1] == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            return self.say(
                200, {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]}
            )
        return self.commit([json.loads(line) for line in body.splitlines()])

    def commit(self, lines: list[dict[str, Any]]) -> None:
        parent = lines[0]["value"].get("parentCommit")
        if parent not in (None, self.name("main")):
            return self.say(412, {"error": "A commit has happened since."})
        files = dict(self.commits[-1])
        for line in lines[1:]:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            else:
                files.pop(line["value"]["path"], None)
        self.commits.append(files)
        address = f"http://{self.headers['Host']}/datasets/{REPOSITORY}/commit/{self.name('main')}"
        return self.say(200, {"commitUrl": address, "commitOid": self.name("main"), "hookOutput": ""})

    def tree(self, files: dict[str, bytes], folder: str, recursive: bool) -> None:
        begin = f"{folder}/" if folder else ""
        inside = {name: data for name, data in files.items() if name.startswith(begin)}
        if not inside:
            return self.missing("EntryNotFound")
        folders = {
            begin + "/".join(parts[:depth])
            for name in inside
            for parts in [name[len(begin) :].split("/")]
            for depth in range(1, len(parts) if recursive else min(2, len(parts)))
        }
        shown = {name: data for name, data in inside.items() if recursive or "/" not in name[len(begin) :]}
        entries = [
            {"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)
        ]
        return self.say(200, entries + [self.facts(name, data) for name, data in sorted(shown.items())])

    def facts(self, path: str, data: bytes) -> dict[str, Any]:
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def files(self, revision: str) -> dict[str, bytes]:
        return self.commits[-1 if revision == "main" else int(revision, 16)]

    def name(self, revision: str) -> str:
        return f"{len(self.commits) - 1:040x}" if revision == "main" else revision

    def file(self, data: bytes, revision: str) -> None:
        headers = {"X-Repo-Commit": self.name(revision), "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if "Range" not in self.headers:
            return self.say(200, data, **headers)
        begin, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(begin) : int(end or len(data)) + 1]
        place = f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"
        return self.say(206 if part else 416, part, **headers, **{"Content-Range": place})

    def missing(self, code: str) -> None:
        self.say(404, {"error": code}, **{"X-Error-Code": code})

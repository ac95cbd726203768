"""What stands in a folder of features: settings, then a line for each finished part, then the sum.

    {"graft": "features", "format": 1, "settings": {...}}
    {"part": 0, "items": 1024, "names": "<SHA-256 of the ids>", "images": 1023, "failed": [...], "files": {...}}
    {"complete": true, "items": 1500, "images": 1498, "failed": 2}

A line is added when the files of its part are on the disk. A process that is killed leaves at most half a line,
which the next one takes away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from models.errors import OutputError

NAME = "manifest.jsonl"
FORMAT = 1
PROCESSOR = "processor"  # a setting that folders of earlier versions do not tell
_BEGIN = b'{"graft": "features"'


@dataclass(frozen=True)
class Part:
    """A finished part: `names` is a digest of all its images' names, `files` gives bytes and SHA-256 of each file."""

    part: int
    items: int
    names: str
    images: int
    failed: list[dict[str, str]]
    files: dict[str, dict[str, Any]]


@dataclass
class Manifest:
    """The manifest of a folder."""

    path: Path
    settings: Mapping[str, Any]
    parts: int = 0
    items: int = 0
    images: int = 0
    failed: int = 0
    complete: bool = False

    @classmethod
    def begin(cls, folder: Path, settings: Mapping[str, Any]) -> Manifest:
        """Start a new one."""
        manifest = cls(folder / NAME, settings)
        manifest.path.write_bytes(b"")
        manifest._append(first_line(settings))
        return manifest

    @classmethod
    def resume(cls, folder: Path, settings: Mapping[str, Any]) -> Manifest:
        """Go on with the one that is there; half a line at its end goes.

        Raises:
            OutputError: it was written with other settings, or files that it lists are gone.
        """
        path = folder / NAME
        manifest = cls(path, settings)
        end = 0
        with path.open("rb") as stream:
            for number, line in enumerate(stream):
                if not line.endswith(b"\n"):
                    break
                manifest._take(_parsed(path, number, line), first=number == 0)
                end += len(line)
        if end < path.stat().st_size:
            os.truncate(path, end)
        return manifest

    def skip(self, items: Iterator[Any]) -> None:
        """Pass over the images of the finished parts, and see that they are the same.

        Raises:
            OutputError: the source has other images now, or fewer.
        """
        for part in self.each_part():
            names = [item.id for item in islice(items, part.items)]
            if names_digest(names) != part.names:
                raise OutputError(
                    f"{self.path.parent}: the source gives other images than when part {part.part} of it was written "
                    f"({names[0] if names else 'none'}, ...). Extract it into another folder."
                )

    def add(self, part: Part) -> None:
        """Add a part whose files are on the disk."""
        self._append(part_line(part))
        self._count(part)

    def finish(self) -> None:
        """Say that nothing is missing."""
        self._append(last_line(self.items, self.images, self.failed))
        self.complete = True

    def each_part(self) -> Iterator[Part]:
        """The finished parts, read from the disk again: there may be many."""
        with self.path.open("rb") as stream:
            for line in stream:
                values = json.loads(line)
                if "part" in values:
                    yield Part(**values)

    def _take(self, line: dict[str, Any], *, first: bool) -> None:
        if first:
            self._compare(line)
        elif "part" in line:
            part = Part(**line)
            for name, facts in part.files.items():
                file = self.path.parent / name
                if not file.is_file() or file.stat().st_size != facts["bytes"]:
                    raise OutputError(
                        f"{file}: gone or changed since it was written. Put it back, or extract into a new folder."
                    )
            self._count(part)
        else:
            self.complete = True

    def _compare(self, line: dict[str, Any]) -> None:
        if line.get("graft") != "features" or line.get("format") != FORMAT:
            raise OutputError(f"{self.path}: not a manifest of features that this version reads.")
        changes = changed_settings(line["settings"], self.settings)
        if changes:
            raise OutputError(
                f"{self.path.parent}: begun with other settings ({changes}). Features of different kinds are not "
                "mixed: give the same settings, or another folder."
            )

    def _count(self, part: Part) -> None:
        self.parts += 1
        self.items += part.items
        self.images += part.images
        self.failed += len(part.failed)

    def _append(self, line: bytes) -> None:
        with self.path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())


def first_line(settings: Mapping[str, Any]) -> bytes:
    """What a manifest begins with."""
    return json_line({"graft": "features", "format": FORMAT, "settings": settings})


def part_line(part: Part) -> bytes:
    """What stands in it for a finished part."""
    return json_line(asdict(part))


def last_line(items: int, images: int, failed: int) -> bytes:
    """What says that nothing is missing."""
    return json_line({"complete": True, "items": items, "images": images, "failed": failed})


def json_line(values: Mapping[str, Any]) -> bytes:
    """An object as a line of JSON."""
    return json.dumps(values).encode() + b"\n"


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between settings, as words; "" where nothing does. Earlier ones did not tell the processor."""
    earlier = {PROCESSOR: now.get(PROCESSOR), **before}
    return "; ".join(
        f"{key} was {earlier.get(key)}, now {now.get(key)}"
        for key in {**earlier, **now}
        if earlier.get(key) != now.get(key)
    )


def begun(folder: Path) -> bool:
    """Whether a manifest of features stands in a folder, be it half a line that a killed process left."""
    try:
        with (folder / NAME).open("rb") as stream:
            head = stream.read(len(_BEGIN))
    except FileNotFoundError:
        return False
    return _BEGIN.startswith(head)


def names_digest(names: Iterable[str]) -> str:
    """SHA-256 of names in their order."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as exc:
        raise OutputError(
            f"{path}, line {number + 1}: damaged ({exc}). Extract into another folder."
        ) from exc
    if not isinstance(values, dict):
        raise OutputError(
            f"{path}, line {number + 1}: not a line of a manifest. Extract into another folder."
        )
    return values

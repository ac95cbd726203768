"""The end of parts: index, failures and manifest are written, and what only parts needed goes."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, TypeVar

from feature_extraction.manifest import NAME as MANIFEST
from feature_extraction.manifest import Part, changed_settings, first_line, last_line, part_line
from feature_extraction.ordered import ordered_map
from feature_extraction.part_files import FAILED, INDEX, INDEX_HEAD, PLAN, WORK, failure_lines, index_rows
from feature_extraction.parts.making import committed
from feature_extraction.parts.places import Place
from feature_extraction.parts.planning import Plan
from models.errors import OutputError
from models.wording import listed

_READERS = 8  # threads, so that a store that answers slowly is asked for several files at once
_AHEAD = 64
_NAMED = 10  # missing parts
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Merged:
    """What a folder holds now."""

    parts: int
    images: int
    failed: int


def merge_parts(plan: Plan) -> Merged:
    """Make the folder that one run writes of the parts that are there; killed at any moment, it can be done again.

    Raises:
        OutputError: parts are missing, are of another plan, or have lost files; or the place cannot be written.
    """
    place = plan.place
    if (finished := _finished(place)) is not None:
        # The manifest comes last: all is there but the clearing away.
        _, merged = finished
        _clear(plan)
        return merged
    with tempfile.TemporaryFile() as lines:  # of the manifest: memory does not grow with the parts
        merged = _collect(plan, lines)
        if merged.failed:
            place.replace(FAILED, failure_lines(_parts(lines)))
        if plan.settings["format"] == "npy":
            place.replace(INDEX, _index(plan, lines))
        lines.seek(0)
        place.replace(MANIFEST, lines)
    _clear(plan)
    return merged


def merged_before(place: Place, settings: Mapping[str, Any]) -> Merged | None:
    """What a place holds that is finished, with these settings; None where nothing is, or only a part of one run.

    Raises:
        OutputError: it was made with others.
    """
    finished = _finished(place)
    if finished is None:
        return None
    before, merged = finished
    changes = changed_settings(before, json.loads(json.dumps(settings)))
    if changes:
        raise OutputError(
            f"{place}: holds features that were made with other settings ({changes}). Features of different kinds are "
            "not mixed: give the same settings, or another place."
        )
    return merged


def _finished(place: Place) -> tuple[Mapping[str, Any], Merged] | None:
    """The settings and sums of a manifest to which nothing is missing; None where none stands in the place."""
    try:
        with place.open(MANIFEST) as stream:
            first = next(stream, b"")
            ((parts, last),) = deque(enumerate(stream), maxlen=1) or [(0, first)]
        head, end = json.loads(first), json.loads(last)
        return (head["settings"], Merged(parts, end["images"], end["failed"])) if "complete" in end else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Among them half a line, which a run leaves that is killed, and what somebody else calls so.
        return None


def _clear(plan: Plan) -> None:
    """Remove what only parts needed, the plan last: as long as anything is left it says what that is."""
    place = plan.place
    names = (f"{WORK}/{name}" for name in place.names(WORK))
    for _ in _ahead(place.remove, (name for name in names if name != PLAN)):
        pass
    place.remove(PLAN)
    place.remove(WORK)


def _collect(plan: Plan, lines: IO[bytes]) -> Merged:
    """Write the manifest into `lines`, and see that all parts and their files are there."""
    images = failed = items = 0
    missing: list[int] = []
    lines.write(first_line(plan.settings))
    for number, part in enumerate(_ahead(partial(_whole, plan), range(plan.parts))):
        if part is None:
            missing.append(number)
            continue
        lines.write(part_line(part))
        items += part.items
        images += part.images
        failed += len(part.failed)
    if missing:
        raise OutputError(
            f"{plan.place}: {len(missing):,} of {plan.parts:,} parts are missing ("
            f"{listed([str(number) for number in missing], _NAMED)}). Run each --part again: those that are there "
            "are not made twice."
        )
    lines.write(last_line(items, images, failed))
    return Merged(plan.parts, images, failed)


def _whole(plan: Plan, number: int) -> Part | None:
    part = committed(plan, number)
    for name, facts in part.files.items() if part else ():
        if plan.place.size(name) != facts["bytes"]:
            raise OutputError(
                f"{plan.place}: {name} is gone or changed since it was written. Put it back, or extract into a new "
                "folder."
            )
    return part


def _parts(lines: IO[bytes]) -> Iterator[Part]:
    lines.seek(0)
    for line in lines:
        values = json.loads(line)
        if "part" in values:
            yield Part(**values)


def _index(plan: Plan, lines: IO[bytes]) -> Iterator[bytes]:
    yield INDEX_HEAD
    yield from _ahead(lambda part: index_rows(part, partial(_file, plan)), _parts(lines))


def _file(plan: Plan, name: str) -> bytes:
    with plan.place.open(name) as stream:  # its size was seen a moment ago
        return stream.read()


def _ahead(function: Callable[[_Given], _Made], inputs: Iterable[_Given]) -> Iterator[_Made]:
    return ordered_map(function, inputs, threads=_READERS, ahead=_AHEAD, name="graft-merge")

"""A part is computed and commits itself: its files first, then the line that says that it is there.

Nothing is written over, so a part that two make at once, or that is made again, is there once. One that ends its
process is tried three times; then it is named, so that it does not end every other process as well.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from typing import Any

from feature_extraction.byte_store import ByteStore
from feature_extraction.extraction import ExtractionReport, extract_vectors, settings
from feature_extraction.items import ImageItem
from feature_extraction.manifest import NAME as MANIFEST
from feature_extraction.manifest import Part, json_line, names_digest
from feature_extraction.part_files import WORK, encoded_part, stem
from feature_extraction.parts.places import Place, read
from feature_extraction.parts.planning import Plan, PlannedPart, refuse_other_settings
from feature_extraction.sources import images, images_from
from feature_extraction.web_images import WebImages
from feature_extraction.worker import Vectors
from models.errors import OutputError, SourceError
from models.features import FeatureModel

TRIES = 3  # of a part whose process ends in the middle of it
_TRY = "try"

Reopen = Callable[[], Iterable[ImageItem]]


@dataclass(frozen=True)
class Outcome:
    """What became of a part. `before`: it was there already. `error`: why it is not there, "" where it is."""

    part: int
    images: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)  # `id` and `error` of each image that failed
    before: bool = False
    error: str = ""


class PartMaker:
    """Makes parts of a plan in this process, one after the other, with a network that is opened already."""

    def __init__(
        self,
        plan: Plan,
        features: FeatureModel,
        *,
        reopen: Reopen | None = None,
        store: ByteStore | None = None,
        threads: int | None = None,
        report: ExtractionReport | None = None,
        web: WebImages | None = None,
    ) -> None:
        """See that what is installed here gives what is planned.

        `reopen` lists the images from the beginning, where the plan's source is no name that `sources.images` takes.
        `store`, `threads`, `report`: as `feature_extraction.extraction.extract_to` takes them;
        `web`: as `sources.images`.

        Raises:
            OutputError: this process would make other features than planned.
        """
        self._plan, self._features, self._store, self._threads = plan, features, store, threads
        self._reopen, self._web, self.report = reopen, web, report or ExtractionReport()
        self._batch_size = int(plan.settings["batch_size"])
        here = settings(features, self._batch_size)
        here |= {key: plan.settings[key] for key in ("format", "part_items")}
        refuse_other_settings(plan, here, f"on {socket.gethostname()}")
        self._stream: Iterator[ImageItem] = iter(())
        self._next = -1  # the part that the stream is about to give

    def make(self, planned: PlannedPart) -> Outcome:
        """Compute a part and commit it, unless it is there.

        Raises:
            OutputError: the place cannot be written, or holds files with other bytes than these.
            SourceError: the source gives other images now, or the part has ended its process too often.
            ModelError: the network itself fails.
        """
        place = self._plan.place
        part = committed(self._plan, planned.part)
        if part is not None or place.size(MANIFEST) is not None:
            return Outcome(planned.part, part.images if part else 0, part.failed if part else [], before=True)
        marker = _begin(place, planned)
        try:
            part = self._commit(planned, self._vectors(planned))
        finally:
            place.remove(marker)  # this process goes on
        return Outcome(planned.part, part.images, part.failed)

    def _vectors(self, planned: PlannedPart) -> list[Vectors]:
        """Features of the part's images, after seeing that these are the planned ones."""
        stands, self._next = self._next, -1
        for items in self._ways(planned, planned.part - stands if stands >= 0 else None):
            with closing(
                extract_vectors(
                    self._features, items, self._batch_size, self._threads, self._store, self.report
                )
            ) as stream:
                batches = list(stream)
            if names_digest(name for batch in batches for name in batch.names) == planned.names:
                self._next = planned.part + 1
                return batches
        raise SourceError(
            f"{self._plan.source}: gives other images than when it was planned (part {planned.part}, which began "
            f"with {planned.first}). Extract it into another folder."
        )

    def _ways(self, planned: PlannedPart, ahead: int | None) -> Iterator[Iterator[ImageItem]]:
        """The images of a part: where the stream stands, by the first image's name, further on, from the beginning.

        `ahead`: by how many parts the stream stands before it; None where nobody knows. A later way is gone where an
        earlier one gave other images: names say nothing where one stands there twice.
        """
        if ahead == 0:
            yield islice(self._stream, planned.items)
        jumped = images_from(self._plan.source, planned.first) if self._reopen is None else None
        if jumped is not None:
            self._stream = jumped
            yield islice(self._stream, planned.items)
        elif ahead is not None and ahead > 0:
            between = ahead * self._plan.part_items
            yield islice(self._stream, between, between + planned.items)
        self._stream = iter(self._reopen() if self._reopen else images(self._plan.source, None, self._web))
        begin = planned.part * self._plan.part_items
        yield islice(self._stream, begin, begin + planned.items)

    def _commit(self, planned: PlannedPart, batches: list[Vectors]) -> Part:
        plan = self._plan
        files, part = encoded_part(plan.settings["format"], planned.part, self._features.blank, batches)
        if plan.place.size(MANIFEST) is not None:  # another has made it too, and all is merged
            return part
        for name, data in files.items():
            _create(plan.place, name, data)
        _create(plan.place, sidecar(planned.part), json_line({"plan": plan.digest, **asdict(part)}))
        return part


def do_part(plan: Plan, number: int, features: FeatureModel, **options: Any) -> Outcome:
    """Make the part of a plan with this number, from 0; `options`: see `PartMaker`.

    Raises:
        GraftError: as `PartMaker` and `PartMaker.make`.
    """
    (planned,) = plan.planned(number, number + 1)
    return PartMaker(plan, features, **options).make(planned)


def sidecar(number: int) -> str:
    """The file that says that a part is there: its line of the manifest, and of which plan it is."""
    return f"{WORK}/{stem(number)}.json"


def committed(plan: Plan, number: int) -> Part | None:
    """A part that is there; None where it is not.

    Raises:
        OutputError: it is of another plan.
    """
    data = read(plan.place, sidecar(number))
    if data is None:
        return None
    values = json.loads(data)
    if values.pop("plan") != plan.digest:
        raise OutputError(
            f"{plan.place}: part {number} was made by another plan: of another source, other settings or versions. "
            "Parts of different plans are not mixed: make them in a new folder."
        )
    return Part(**values)


def missing_parts(plan: Plan) -> Iterator[PlannedPart]:
    """The parts that are not there, by one look at the place; those that ended their processes are tried again."""
    stems: set[str] = set()
    tried: list[str] = []
    for name in plan.place.names(WORK):
        begin, _, end = name.rpartition(".")
        if end == "json":
            stems.add(begin)
        elif end.startswith(_TRY):
            tried.append(name)
    for name in tried:
        plan.place.remove(f"{WORK}/{name}")
    return (planned for planned in plan.planned() if stem(planned.part) not in stems)


def forget_tries(plan: Plan, numbers: Iterable[int]) -> None:
    """Let parts that ended their processes be tried again."""
    for number in numbers:
        for name in islice(_notes(number), 2 * TRIES):
            plan.place.remove(name)


def _notes(number: int) -> Iterator[str]:
    """The names of the notes that a part was begun, the first one's first."""
    return (f"{WORK}/{stem(number)}.{_TRY}{i}" for i in count(1))


def _begin(place: Place, planned: PlannedPart) -> str:
    """Note that a part is begun; the name of the note.

    Raises:
        SourceError: it was begun too often, and no process has come to its end.
    """
    me = f"process {os.getpid()} on {socket.gethostname()}"
    ended = 0
    for name in _notes(planned.part):
        if place.create(name, [me.encode()]):
            return name
        ended += not _goes_on((read(place, name) or me.encode()).decode())
        if ended == TRIES:
            break
    raise SourceError(
        f"part {planned.part} ({planned.items:,} images from {planned.first} on) has ended its process {TRIES} times; "
        "it is left out. Where that was an image, take it out of the source and choose a new folder; where processes "
        "were ended from outside, try again with --resume."
    )


def _goes_on(who: str) -> bool:
    """Whether the process that left a note is there still; of another machine's, and on Windows, that is not known."""
    _, process, _, host = who.split(" ", 3)
    if host != socket.gethostname() or os.name == "nt":  # there 0 is Ctrl-C, and not the question alone
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _create(place: Place, name: str, data: bytes) -> None:
    """Write a file, unless it is there with the same bytes.

    Raises:
        OutputError: it is there with others.
    """
    if not place.create(name, [data]) and read(place, name) not in (data, None):
        raise OutputError(
            f"{place}: {name} is there with other bytes than were made on {socket.gethostname()}. Two machines "
            "disagree (other CPUs, other versions), or it is somebody else's: nothing was written over it. Choose "
            "a new folder, and machines of one kind."
        )

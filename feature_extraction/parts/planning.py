"""How a source is cut into parts: a line for each of them, so that a plan of a billion images is read line by line.

    {"graft": "plan", "format": 1, "source": "photos", "settings": {...}}
    {"part": 0, "items": 1024, "first": "photos/a.jpg", "names": "<SHA-256 of the ids>"}
    {"parts": 2, "items": 1500}

The same source and settings give the same bytes on every machine, whose digest stands in all that is made by the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

from feature_extraction.extraction import all_settings
from feature_extraction.formats import Format
from feature_extraction.items import ImageItem, Tally
from feature_extraction.manifest import NAME as MANIFEST
from feature_extraction.manifest import changed_settings, json_line, names_digest
from feature_extraction.part_files import PLAN
from feature_extraction.parts.places import Place
from feature_extraction.sources import images
from feature_extraction.web_images import WebImages
from models.errors import InputError, OutputError
from models.features import FeatureModel

FORMAT = 1


@dataclass(frozen=True)
class PlannedPart:
    """A part to be made: so many images from the one called `first` on; `names` is a digest of all their ids."""

    part: int
    items: int
    first: str
    names: str


@dataclass(frozen=True)
class Plan:
    """What is to be made in a place; the parts themselves are read when they are asked for."""

    place: Place
    source: str
    settings: Mapping[str, Any]  # as in the manifest
    parts: int
    items: int
    digest: str  # SHA-256 of its lines

    @classmethod
    def open(cls, place: Place) -> Self | None:
        """The plan that stands in a place; None where none does.

        Raises:
            OutputError: it is damaged, or another version's.
        """
        digest = hashlib.sha256()
        head, last = b"", b""
        try:
            with place.open(PLAN) as stream:
                for line in stream:
                    head = head or line
                    last = line
                    digest.update(line)
        except FileNotFoundError:
            return None
        try:
            begin, end = json.loads(head), json.loads(last)
            if begin["graft"] != "plan" or begin["format"] != FORMAT:
                raise ValueError("another version's")
            return cls(
                place, begin["source"], begin["settings"], end["parts"], end["items"], digest.hexdigest()
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise OutputError(
                f"{place}: its plan, {PLAN}, is damaged or of another version ({exc}). Choose another folder."
            ) from exc

    @property
    def part_items(self) -> int:
        """Images of a part; the last has fewer."""
        return int(self.settings["part_items"])

    def planned(self, begin: int = 0, end: int | None = None) -> Iterator[PlannedPart]:
        """The parts from number `begin` to that before `end`."""
        with self.place.open(PLAN) as stream:
            for line in islice(
                stream, 1 + begin, 1 + min(end if end is not None else self.parts, self.parts)
            ):
                yield PlannedPart(**json.loads(line))

    def share(self, number: int, count: int) -> range:
        """The numbers of the parts that are the share `number` of `count`, from 1: as equal ones as can be.

        Raises:
            InputError: there is no such share.
        """
        if not 1 <= number <= count:
            raise InputError(
                f"part {number} of {count}; expected a number from 1 to {count}. Correct --part."
            )
        return range((number - 1) * self.parts // count, number * self.parts // count)

    def refuse_other_source(self, source: str) -> None:
        """See that a source is the one that was planned.

        Raises:
            OutputError: it is another.
        """
        if self.source != source:
            raise OutputError(
                f"{self.place}: the plan that stands here is for {self.source}, not for {source}. Give the same "
                "source, or choose another folder."
            )


def plan_parts(
    place: Place,
    source: str,
    features: FeatureModel,
    form: Format,
    *,
    items: Iterable[ImageItem] | None = None,
    batch_size: int | None = None,
    part_images: int | None = None,
    tally: Tally | None = None,
    web: WebImages | None = None,
) -> Plan:
    """Cut a source into parts and write the plan down, or take the one that stands there already.

    `source`: what `feature_extraction.sources.images` takes, or only a name where `items` gives the images; they are
    listed only where there is no plan yet. `part_images`: how many a part has at most, 1,024 or less unless told.
    `tally`, `web`: as `sources.images` takes them. Any number of processes may do this at once: the first plan is
    everybody's.

    Raises:
        OutputError: the place holds other features, or the plan of another source or with other settings.
        SourceError: the source gives no images.
    """
    size = batch_size or features.model.batch_size
    items = images(source, tally, web) if items is None else items
    return write_plan(place, source, items, all_settings(features, form, size, part_images))


def write_plan(place: Place, source: str, items: Iterable[ImageItem], settings: Mapping[str, Any]) -> Plan:
    """As `plan_parts`, with settings that are known: those of the manifest."""
    plan = Plan.open(place)
    if plan is None:
        if place.size(MANIFEST) is not None:
            raise OutputError(
                f"{place}: holds features already, which were not made in parts or are merged. Go on with --resume and "
                "without --part, or choose another folder."
            )
        place.create(PLAN, _lines(source, items, settings))
        plan = Plan.open(place)
        assert plan is not None  # ours, or that of another who was faster
    plan.refuse_other_source(source)
    refuse_other_settings(plan, settings, "now")
    return plan


def refuse_other_settings(plan: Plan, settings: Mapping[str, Any], here: str) -> None:
    """See that features made with these settings go with those of the plan.

    Raises:
        OutputError: they do not.
    """
    changes = changed_settings(plan.settings, json.loads(json.dumps(settings)))
    if changes:
        raise OutputError(
            f"{plan.place}: planned with other settings than {here} ({changes}). Features of different kinds are not "
            "mixed: use the same settings and versions everywhere, or choose another folder."
        )


def _lines(source: str, items: Iterable[ImageItem], settings: Mapping[str, Any]) -> Iterator[bytes]:
    yield json_line({"graft": "plan", "format": FORMAT, "source": source, "settings": settings})
    stream, size = iter(items), int(settings["part_items"])
    count = total = 0
    while names := [item.id for item in islice(stream, size)]:
        yield json_line(asdict(PlannedPart(count, len(names), names[0], names_digest(names))))
        count += 1
        total += len(names)
    yield json_line({"parts": count, "items": total})

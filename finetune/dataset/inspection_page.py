"""The inspection as one HTML file that requests nothing and runs no script."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from feature_extraction.items import read_item
from finetune.dataset.duplicates import Group
from finetune.dataset.examples import taught_by
from finetune.dataset.inspection import Inspection
from finetune.dataset.inspection_json import quartiles
from finetune.pages.environment import environment
from models.errors import GraftError
from models.files import write_atomically
from models.preprocessing import thumbnail

CLASSES, OF_A_CLASS = 40, 3
GROUPS, OF_A_GROUP = 40, 6
SUSPECTS, OUTLIERS, FLAWS = 48, 24, 48
ROWS = 200  # of any table; the JSON has them all
SIDE = 132  # pixels


@dataclass(frozen=True)
class Picture:
    """One image on the page. `source` is a data URI, None where it cannot be read."""

    name: str
    label: str
    split: str | None
    source: str | None


@dataclass(frozen=True)
class Sheet:
    """Copies side by side."""

    kind: str
    size: int
    pictures: Sequence[Picture]


def write_page(path: Path, inspection: Inspection) -> Path:
    """Write the report to a file and return its path.

    It stays below 3 MB however many images and classes there are: what is not shown is counted.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    write_atomically(path, page(inspection).encode(errors="replace"))
    return path


def page(inspection: Inspection) -> str:
    """The report as HTML. All names in it are escaped."""
    readable = [one for one in inspection.facts if one.error is None]
    pictures = _Pictures(inspection)
    conflicts, across = _keys(inspection.conflicts), _keys(inspection.across)
    rest = [group for group in inspection.groups if group.indices not in conflicts | across]
    rendered: str = (
        environment(Path(__file__).parent)
        .get_template("inspection.html")
        .render(
            inspection=inspection,
            dataset=inspection.dataset,
            warnings=inspection.dataset.warnings(),
            readable=len(readable),
            largest=max(inspection.counts.values(), default=1),
            rows=_class_rows(inspection),
            sheets=list(_class_sheets(inspection, pictures)),
            conflicts=[pictures.sheet(group) for group in inspection.conflicts[:GROUPS]],
            across=[pictures.sheet(g) for g in inspection.across if g.indices not in conflicts][:GROUPS],
            copies=[pictures.sheet(group) for group in rest[:GROUPS]],
            copies_in_all=len(rest),
            extra=sum(len(group.indices) - 1 for group in inspection.groups),
            suspects=[(one, pictures.of(one.index)) for one in inspection.suspects[:SUSPECTS]],
            outliers=[(one, pictures.of(one.index)) for one in inspection.outliers[:OUTLIERS]],
            flaws=[(one, pictures.of(one.index)) for one in inspection.flaws[:FLAWS]],
            unreadable=[
                (inspection.dataset.examples[i].key, inspection.facts[i].error)
                for i in inspection.unreadable[:ROWS]
            ],
            widths=quartiles(sorted(one.width for one in readable)),
            heights=quartiles(sorted(one.height for one in readable)),
            bytes=sum(one.bytes for one in inspection.facts),
            modes=Counter(one.mode for one in readable).most_common(),
            formats=Counter(one.format for one in readable).most_common(),
            sizes=Counter((one.width, one.height) for one in readable).most_common(12),
            most=ROWS,
        )
    )
    return rendered


class _Pictures:
    """Small pictures, each made once."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection
        self._made: dict[int, Picture] = {}

    def of(self, index: int) -> Picture:
        if index not in self._made:
            example = self._inspection.dataset.examples[index]
            source = None if self._inspection.facts[index].error else self._draw(index)
            self._made[index] = Picture(example.key, example.label, example.split, source)
        return self._made[index]

    def sheet(self, group: Group) -> Sheet:
        chosen = group.indices[:OF_A_GROUP]
        return Sheet(group.kind, len(group.indices), [self.of(i) for i in chosen])

    def _draw(self, index: int) -> str | None:
        item = self._inspection.dataset.examples[index].item
        try:
            small = thumbnail(read_item(item), SIDE, name=item.id)
        except GraftError:  # gone since it was read
            return None
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=72)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _class_rows(inspection: Inspection) -> list[tuple[str, int, list[int]]]:
    """Name, images, and images in each split of the classes, the largest first; of very many both ends."""
    ordered = sorted(inspection.counts, key=lambda name: (-inspection.counts[name], name))
    if len(ordered) > ROWS:
        ordered = ordered[: ROWS // 2] + ordered[-(ROWS // 2) :]
    splits = inspection.split_counts.values()
    return [(name, inspection.counts[name], [counted[name] for counted in splits]) for name in ordered]


def _class_sheets(inspection: Inspection, pictures: _Pictures) -> Iterable[tuple[str, list[Picture]]]:
    """Three images of each of the first classes: the first, the middle and the last that can be read."""
    members: dict[str, list[int]] = {name: [] for name in inspection.dataset.classes[:CLASSES]}
    for i, example in enumerate(inspection.dataset.examples):
        for name in taught_by(example):
            if name in members and inspection.facts[i].error is None:
                members[name].append(i)
    for name, all_of_it in members.items():
        places = sorted({0, len(all_of_it) // 2, len(all_of_it) - 1}) if all_of_it else []
        yield name, [pictures.of(all_of_it[place]) for place in places[:OF_A_CLASS]]


def _keys(groups: Iterable[Group]) -> set[tuple[int, ...]]:
    return {group.indices for group in groups}

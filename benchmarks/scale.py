"""Planning and merging as many images as nobody has here: the real code of both on a listing that is made up.

python -m benchmarks.scale --images 100000000

Listed are names alone, in the order of their numbers. The plan is written to the disk. What would be read of finished
parts (a sidecar and a list of ids each) is made up when the merge asks for it; what it writes is counted and thrown
away.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from feature_extraction.items import ImageItem
from feature_extraction.manifest import NAME as MANIFEST
from feature_extraction.manifest import Part
from feature_extraction.part_files import PLAN, WORK, stem
from feature_extraction.parts.merging import merge_parts
from feature_extraction.parts.places import Folder
from feature_extraction.parts.planning import Plan, write_plan

PART_ITEMS = 1024
SETTINGS = {"model": "made up", "batch_size": 32, "format": "npy", "part_items": PART_ITEMS}
VECTORS = PART_ITEMS * 2048 * 4  # bytes


def name(number: int) -> str:
    return f"photos/{number // 10_000:06}/{number % 10_000:04}.jpg"


def listing(count: int, marks: Iterator[int]) -> Iterator[ImageItem]:
    """So many images; says how much memory is in use at each mark."""
    mark = next(marks, None)
    for number in range(count):
        if number == mark:
            print(f"  {number:,} listed, {resident():,.1f} MB in use", flush=True)
            mark = next(marks, None)
        yield ImageItem(name(number), bytes)


@dataclass(frozen=True)
class MadeUp(Folder):
    """A place in which all parts of a plan stand."""

    items: int = 0
    digest: str = ""
    written: dict[str, int] = field(default_factory=dict, hash=False)

    def open(self, name: str) -> BinaryIO:
        """The plan from the disk, all else made up."""
        if name == PLAN:
            return super().open(name)
        return io.BytesIO(self._sidecar(name) if name.endswith(".json") and WORK in name else self._ids(name))

    def size(self, name: str) -> int | None:
        """As it is told by the sidecar."""
        return None if name == MANIFEST else len(self._ids(name)) if name.endswith(".ids.json") else VECTORS

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """Count what is written."""
        for piece in pieces:
            self.written[name] = self.written.get(name, 0) + len(piece)
            written = self.written[name]
            if name != MANIFEST and written // 1_000_000_000 > (written - len(piece)) // 1_000_000_000:
                print(f"  {name}: {written / 1e9:,.0f} GB, {resident():,.1f} MB in use", flush=True)

    def _numbers(self, part: int) -> range:
        return range(part * PART_ITEMS, min(self.items, (part + 1) * PART_ITEMS))

    def _ids(self, file: str) -> bytes:
        return json.dumps([name(number) for number in self._numbers(_part(file))]).encode()

    def _sidecar(self, file: str) -> bytes:
        part = _part(file)
        begin, count = stem(part), len(self._numbers(part))
        files = {f"{begin}.pool.npy": VECTORS, f"{begin}.ids.json": len(self._ids(file))}
        facts = {file: {"bytes": size, "sha256": "0" * 64} for file, size in files.items()}
        # One image in a thousand cannot be read, so that there is a report of failures.
        failed = [{"id": name(part * PART_ITEMS), "error": f"{name(part * PART_ITEMS)}: the file is empty"}]
        return json.dumps(
            {"plan": self.digest, **asdict(Part(part, count, "0" * 64, count, failed, facts))}
        ).encode()


def _part(file: str) -> int:
    digits = file.rpartition("part-")[2].partition(".")[0]
    return int(digits.lstrip("abcdefghijklmnopqrstuvwxyz"))


def resident() -> float:
    """MB of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def plan(folder: Path, count: int) -> Plan:
    began, cpu = time.perf_counter(), time.process_time()
    marks = iter([count // 100, count // 10, count // 2, count - 1])
    made = write_plan(Folder(folder), "photos", listing(count, marks), SETTINGS)
    report(f"planned {made.items:,} images in {made.parts:,} parts", began, cpu)
    print(f"  the plan has {(folder / PLAN).stat().st_size / 1e6:,.1f} MB")
    return made


def merge(made: Plan, folder: Path) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    place = MadeUp(folder, made.items, made.digest)
    merged = merge_parts(replace(made, place=place))
    report(f"merged {merged.parts:,} parts, {merged.failed:,} failures", began, cpu)
    for name, size in place.written.items():
        print(f"  {name}: {size / 1e6:,.1f} MB")


def report(words: str, began: float, cpu: float) -> None:
    seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    print(f"{words} in {seconds:,.1f} s ({busy:,.1f} s of CPU), {resident():,.1f} MB in use", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    args = parser.parse_args()
    print(f"{resident():,.1f} MB in use before")
    with tempfile.TemporaryDirectory() as name:
        merge(plan(Path(name), args.images), Path(name))


if __name__ == "__main__":
    main()

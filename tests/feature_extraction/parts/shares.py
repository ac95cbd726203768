"""A source in parts, and the same in one run."""

from __future__ import annotations

from pathlib import Path

from feature_extraction import extract_to, open_place, plan_parts
from feature_extraction.parts.making import PartMaker
from feature_extraction.parts.planning import Plan
from feature_extraction.sources import images
from models.features import FeatureModel

IMAGES = 23
PART = 4


def whole(
    path: Path, source: str, features: FeatureModel, form: str = "npy", part_images: int = PART
) -> None:
    extract_to(path, images(source), features, form, batch_size=2, part_images=part_images)  # type: ignore[arg-type]


def planned(
    path: Path, source: str, features: FeatureModel, form: str = "npy", part_images: int = PART
) -> Plan:
    place = open_place(path)
    return plan_parts(place, source, features, form, batch_size=2, part_images=part_images)  # type: ignore[arg-type]


def make_share(plan: Plan, number: int, count: int, features: FeatureModel) -> None:
    maker = PartMaker(plan, features, threads=1)
    numbers = plan.share(number, count)
    for part in plan.planned(numbers.start, numbers.stop):
        maker.make(part)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


class Killed(BaseException):
    """Stands for the end of the process: nothing may be written after it."""

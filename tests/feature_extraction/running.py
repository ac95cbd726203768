"""What tests of the pipeline share: items, and a worker around the classifier of three colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from feature_extraction.items import ImageItem
from feature_extraction.worker import Worker
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig
from tests.fixtures import plain

CPU = RuntimeConfig(device="cpu", threads=1)


def item(name: str, data: bytes) -> ImageItem:
    return ImageItem(name, lambda: data)


def shades(count: int) -> list[ImageItem]:
    """Grey images, named by their shade; their features are (shade, shade, shade) / 255."""
    return [item(str(i), plain((i, i, i), (16, 16))) for i in range(count)]


def worker(path: Path, **options: object) -> Worker:
    return Worker(open_features(path, FeatureOptions(**options), CPU))  # type: ignore[arg-type]


def counted(items: Iterable[ImageItem], counter: list[int]) -> Iterator[ImageItem]:
    """The items, with a count of how many were asked for."""
    for one in items:
        counter[0] += 1
        yield one

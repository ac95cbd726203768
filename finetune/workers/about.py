"""What a worker is, as far as the numbers that it computes depend on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from models.cores import SHARES, cores
from models.errors import InputError
from models.processor import processor

_PACKAGES = ("graft-vision", "numpy", "onnx", "pillow")


@dataclass(frozen=True)
class About:
    """Of one worker. `versions`: of packages, by name. `processor`: its kind. `bound`: cores that it may run on.

    `cores`: how many it may use, by itself where an engine has given each process its share.
    """

    rank: int
    host: str
    versions: dict[str, str]
    processor: str
    cores: int
    bound: frozenset[int]
    by_itself: bool = False

    def __str__(self) -> str:
        return f"worker {self.rank} on {self.host}"


def about(rank: int) -> About:
    """Of this process."""
    import onnxruntime

    versions = {name: _version(name) for name in _PACKAGES} | {"onnxruntime": onnxruntime.__version__}
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    by_itself = any(name in os.environ for name in SHARES)
    return About(rank, platform.node(), versions, processor(), cores(), frozenset(bound), by_itself)


def check(workers: Sequence[About]) -> list[str]:
    """What a person should know of workers that are alike enough to work together, a sentence each.

    Raises:
        InputError: they are not.
    """
    first, *others = workers
    for other in others:
        different = [
            f"{name} {other.versions.get(name)} there and {first.versions.get(name)} here"
            for name in sorted(first.versions.keys() | other.versions.keys())
            if other.versions.get(name) != first.versions.get(name)
        ]
        if different:
            raise InputError(
                f"{other} has {', '.join(different)} ({first}): their numbers would not be those of one machine. "
                "Install the same versions everywhere."
            )
    kinds = {worker.processor for worker in workers}
    if len(kinds) == 1:
        return []
    return [
        f"the workers have processors of {len(kinds)} kinds ({', '.join(sorted(kinds))}): the last digits of features "
        "depend on which of them computes an image"
    ]


def threads_of(workers: Sequence[About], rank: int) -> int:
    """How many threads a worker uses, so that those on one machine share its cores."""
    own = workers[rank]
    if own.by_itself:
        return own.cores
    sharing = [other for other in workers if other.host == own.host and other.bound & own.bound]
    return max(1, own.cores // len(sharing))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a source tree that is not installed
        return "none"

"""A driver as a process of its own, with places that end or hold up the processes that make parts."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from feature_extraction import merge_parts, plan_parts
from feature_extraction.engines.choosing import engine
from feature_extraction.engines.job import Job
from feature_extraction.part_files import stem
from feature_extraction.parts.making import missing_parts
from feature_extraction.parts.places import Folder
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig

POISON, ONCE, HELD = 3, 1, 2  # parts
CONFIG = RuntimeConfig("cpu", 1)


@dataclass(frozen=True)
class Deadly(Folder):
    """One part ends every process that makes it, another the first one."""

    def create(self, name: str, pieces: Iterable[bytes]) -> bool:
        """As in a folder, or the end."""
        if name.startswith(stem(POISON)):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith(stem(ONCE)) and not (self.path / "once").exists():
            (self.path / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().create(name, pieces)


@dataclass(frozen=True)
class Holding(Folder):
    """Parts from `HELD` on wait, with their files made, until somebody lays down a file called `go`."""

    def create(self, name: str, pieces: Iterable[bytes]) -> bool:
        """As in a folder, later."""
        if name.startswith("part-") and int(name[5:10]) >= HELD:
            (self.path / f"held-{os.getpid()}").touch()
            while not (self.path / "go").exists():
                time.sleep(0.01)
        return super().create(name, pieces)


PLACES = {"plain": Folder, "deadly": Deadly, "holding": Holding}


def main(name: str, model: str, source: str, out: str, *kinds: str) -> None:
    """Make what is missing once for each kind of place, print what became of it, and merge what is whole."""
    features = open_features(model, FeatureOptions(), CONFIG)
    address = os.environ.get("ENGINE_ADDRESS")
    for kind in kinds:
        place = PLACES[kind](Path(out))
        plan = plan_parts(place, source, features, "npy", batch_size=2, part_images=4)
        job = Job(plan, model, FeatureOptions(), CONFIG)
        outcomes = list(engine(name)(job, missing_parts(plan), address))
        print(json.dumps({"made": sorted(o.part for o in outcomes if not o.error)}))
        print(json.dumps({"errors": {o.part: o.error for o in outcomes if o.error}}), flush=True)
        if not any(outcome.error for outcome in outcomes):
            merge_parts(plan)

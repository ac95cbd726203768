"""The engines by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from feature_extraction.engines.job import Job
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart
from models.errors import LibraryError
from models.extras import how_to_install

Run = Callable[[Job, Iterable[PlannedPart], str | None], Iterator[Outcome]]

# The library of each, which the extra of its name brings.
ENGINES = {"ray": "ray", "spark": "pyspark", "dask": "distributed"}


def engine(name: str) -> Run:
    """The driver of an engine.

    Raises:
        LibraryError: it is not installed, or for Spark no Java.
    """
    library = ENGINES[name]
    try:
        import_module(library)
    except ImportError as exc:
        raise LibraryError(
            f"the engine {name} needs the package {library}, which is not installed here. Install it with "
            f"{how_to_install(name)}; or make shares by hand, with --part K/N."
        ) from exc
    if name == "spark" and not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise LibraryError(
            "Spark needs Java 17 or later, and there is none here. Install it, on Debian with apt-get install "
            "default-jre-headless."
        )
    run: Run = import_module(f"feature_extraction.engines.{name}").run
    return run

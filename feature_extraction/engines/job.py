"""What a process of an engine is sent, and does: one part after the other, with a network that it opens once."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field

from feature_extraction.byte_store import open_store
from feature_extraction.parts.making import TRIES, Outcome, PartMaker
from feature_extraction.parts.planning import Plan, PlannedPart
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from models.errors import GraftError, OutputError
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig
from models.version import __version__
from models.wording import first_line

AHEAD = 4  # parts for each core that are handed out at a time
# Of an engine: after TRIES ends of its process a part says so itself, and more may be innocent.
RETRIES = 2 * TRIES


@dataclass(frozen=True)
class Job:
    """All that a process must know beside the part; it can be pickled."""

    plan: Plan
    model: str
    options: FeatureOptions
    config: RuntimeConfig
    cache: bool = False
    web: WebImages | None = None
    folder: str = field(default_factory=os.getcwd)  # where the paths that are relative begin
    version: str = __version__


_kept = threading.local()  # an engine may run several parts in one process, each in a thread of its own


def work(job: Job, planned: PlannedPart) -> Outcome:
    """Make a part; an error is its outcome: engines would repeat it, and end the others' work with it."""
    try:
        return _maker(job).make(planned)
    except GraftError as exc:
        error = str(exc)
    except Exception as exc:
        error = f"part {planned.part}: {type(exc).__name__}: {first_line(exc)}"
    return Outcome(planned.part, error=f"{socket.gethostname()}: {error}")


def lost(planned: PlannedPart, exc: Exception) -> Outcome:
    """What becomes of a part that an engine gives up."""
    return Outcome(
        planned.part,
        error=f"part {planned.part} ({planned.items:,} images from {planned.first} on) was given up by the engine: "
        f"{first_line(exc)}. Run the command again.",
    )


def _maker(job: Job) -> PartMaker:
    if getattr(_kept, "job", None) != job:
        if job.version != __version__:
            raise OutputError(
                f"Graft {__version__} here and {job.version} where the work is handed out; install the same everywhere."
            )
        _refuse_relative(job)
        features = open_features(job.model, job.options, job.config)
        _kept.store = open_store() if job.cache else None
        _kept.maker = PartMaker(
            job.plan, features, store=_kept.store, threads=job.config.threads, web=job.web
        )
        _kept.job = job
    maker: PartMaker = _kept.maker
    return maker


def _refuse_relative(job: Job) -> None:
    """See that relative paths lead here to where they lead where the work is handed out.

    Raises:
        OutputError: they do not.
    """
    names = [job.plan.source, str(job.plan.place)]
    if "/" in job.model:  # else it is one of the models' names
        names.append(job.model)
    relative = [name for name in names if not is_address(name) and not os.path.isabs(name)]
    if relative and os.getcwd() != job.folder:
        raise OutputError(
            f"{relative[0]}: begins at {job.folder} where the work is handed out, and at {os.getcwd()} here. Give "
            "absolute paths."
        )

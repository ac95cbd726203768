"""How far a job is, read from its events."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from finetune.job.event_log import read_events
from service.jobs.answers import CurvePoint, Progress


def progress_after(progress: Progress | None, event: dict[str, Any]) -> Progress | None:
    """How far the stage of a job is after an event; before it, it was `progress`."""
    if event["event"] == "stage":
        return {
            "stage": event["stage"],
            "words": event["words"],
            "done": 0 if event["total"] else None,
            "total": event["total"],
            "seconds_left": None,
        }
    if event["event"] == "progress" and progress is not None:
        return {
            "stage": progress["stage"],
            "words": progress["words"],
            "done": event["done"],
            "total": event["total"],
            "seconds_left": event["seconds_left"],
        }
    return progress


def progress_of(events: Iterable[dict[str, Any]]) -> tuple[Progress | None, list[CurvePoint]]:
    """Where events lead: how far the last stage is, and the curves. Epochs that a resumed run repeats count once."""
    progress: Progress | None = None
    curves: dict[tuple[str, int], CurvePoint] = {}
    for event in events:
        progress = progress_after(progress, event)
        if event["event"] == "epoch":
            point: Any = {name: event[name] for name in CurvePoint.__annotations__}
            curves[event["phase"], event["epoch"]] = point
    return progress, list(curves.values())


def progress_in(file: Path) -> tuple[Progress | None, list[CurvePoint]]:
    """`progress_of` the events in a file."""
    return progress_of(read_events(file)[0])

"""`graft features` in parts: one of several shares of the work, and the end of all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from feature_extraction.byte_store import ByteStore
from feature_extraction.engines.choosing import engine
from feature_extraction.engines.job import Job
from feature_extraction.extraction import ExtractionReport
from feature_extraction.parts.making import Outcome, PartMaker, forget_tries, missing_parts
from feature_extraction.parts.merging import Merged, merge_parts
from feature_extraction.parts.places import Place
from feature_extraction.parts.planning import Plan, PlannedPart
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from models.errors import GraftError, OutputError
from models.features import FeatureModel
from models.wording import counted
from service.cli.terminal.messages import print_error
from service.cli.terminal.progress import images_progress


class Out(click.Path):
    """A folder of this machine, or the address of one in a store, as text."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """An address stays as it is: as a path it would lose one of its slashes."""
        return value if is_address(str(value)) else super().convert(value, param, ctx)


class Share(click.ParamType):  # type: ignore[type-arg]  # generic in later versions of click only
    """ "3/8": the third of eight shares."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Two numbers."""
        number, _, count = str(value).partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(
                f"{value!r}; expected K/N, a share from 1 to the number of shares, such as 3/8", param, ctx
            )
        return int(number), int(count)


def tell_plan(plan: Plan, *, as_json: bool) -> None:
    """Say what is planned."""
    if as_json:
        click.echo(json.dumps({"out": str(plan.place), "parts": plan.parts, "images": plan.items}, indent=2))
    else:
        click.echo(
            f"{plan.place}: {counted(plan.items, 'image')} in {counted(plan.parts, 'part')} planned; make them with "
            "--part K/N"
        )


def make_share(
    plan: Plan,
    share: tuple[int, int],
    features: FeatureModel,
    *,
    resume: bool,
    store: ByteStore | None,
    threads: int | None,
    web: WebImages,
    as_json: bool,
) -> bool:
    """Make the parts of a share that are not there yet, and say what was done; whether all of them are there now."""
    numbers = plan.share(*share)
    if resume:
        forget_tries(plan, numbers)
    report, began = ExtractionReport(), time.perf_counter()
    maker = PartMaker(plan, features, store=store, threads=threads, report=report, web=web)
    outcomes: list[Outcome] = []
    images = min(plan.items, numbers.stop * plan.part_items) - numbers.start * plan.part_items
    with images_progress(max(0, images)) as progress:
        for planned in plan.planned(numbers.start, numbers.stop):
            outcome = _made(maker, planned)
            tell(outcome)
            outcomes.append(outcome)
            progress((planned.part - numbers.start) * plan.part_items + planned.items)
    report.seconds = time.perf_counter() - began
    summary = _summary(outcomes)
    if as_json:
        values = {"share": share[0], "shares": share[1], **summary, "seconds": round(report.seconds, 4)}
        click.echo(json.dumps({"out": str(plan.place), **values}, indent=2))
    else:
        click.echo(
            f"{plan.place}: share {share[0]} of {share[1]}, {_words(summary)} in {report.seconds:,.1f} s"
        )
        if not numbers:
            click.echo(f"  nothing to do: there are {counted(plan.parts, 'part')} for {share[1]} shares")
        click.echo("  when all shares are done: the same command with --merge in place of --part")
    return not summary["missing"]


def _made(maker: PartMaker, planned: PlannedPart) -> Outcome:
    """What becomes of a part that is made here.

    Raises:
        OutputError: the place cannot be written, which the next part would meet too.
    """
    try:
        return maker.make(planned)
    except OutputError:
        raise
    except GraftError as exc:
        return Outcome(planned.part, error=str(exc))


def run_engine(job: Job, name: str, address: str | None, *, as_json: bool) -> bool:
    """Have an engine make what is missing, merge it, and say what was done; whether all images are there.

    Raises:
        LibraryError: the engine is not installed.
        OutputError: parts could not be made: they are named before.
    """
    run = engine(name)
    return _make_all(job.plan, lambda parts: run(job, parts, address), name, as_json=as_json)


def run_here(plan: Plan, maker: PartMaker, *, as_json: bool) -> bool:
    """As `run_engine`, in this process.

    Raises:
        OutputError: the place cannot be written, or parts could not be made: they are named before.
    """
    return _make_all(plan, lambda parts: (_made(maker, planned) for planned in parts), None, as_json=as_json)


def tell_finished(place: Place, merged: Merged, *, as_json: bool) -> bool:
    """Say what was there before; whether all images could be read."""
    if as_json:
        click.echo(json.dumps({"out": str(place), **vars(merged)}, indent=2))
    else:
        click.echo(f"{place}: {counted(merged.images, 'image')}, all done before")
    return not merged.failed


def _make_all(
    plan: Plan,
    run: Callable[[Iterable[PlannedPart]], Iterator[Outcome]],
    name: str | None,
    *,
    as_json: bool,
) -> bool:
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    missing = list(missing_parts(plan))
    with images_progress(plan.items) as progress:
        done = plan.items - sum(planned.items for planned in missing)
        for outcome in run(missing):
            tell(outcome)
            outcomes.append(outcome)
            done += outcome.images + len(outcome.failed)
            progress(done)
    summary = _summary(outcomes)
    seconds = time.perf_counter() - began
    values = {**summary, "parts_before": summary["parts_before"] + plan.parts - len(missing)}
    if as_json:
        facts = {"out": str(plan.place), "engine": name, **values, "seconds": round(seconds, 4)}
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{plan.place}: {_words(values)}{f', on {name}' if name else ''} in {seconds:,.1f} s")
    if summary["missing"]:
        click.echo("  not merged: the same command tries what is missing again, and nothing else")
        return False
    return not merge_parts(plan).failed


def merge(place: Place, source: str, *, as_json: bool) -> bool:
    """Merge the parts of a place, and say what is in it; whether all images could be read.

    Raises:
        OutputError: nothing was planned there, parts are missing, or they are of several plans.
    """
    plan = Plan.open(place)
    if plan is None:
        raise OutputError(
            f"{place}: nothing was planned here, or it is merged already. Make the parts first, with --part K/N."
        )
    plan.refuse_other_source(source)
    merged = merge_parts(plan)
    if as_json:
        click.echo(json.dumps({"out": str(place), **vars(merged)}, indent=2))
    else:
        click.echo(f"{place}: {counted(merged.images, 'image')} in {counted(merged.parts, 'part')}, merged")
        if merged.failed:
            click.echo(f"  {merged.failed:,} could not be read: {place}/failed.jsonl")
    return not merged.failed


def tell(outcome: Outcome) -> None:
    """Say what went wrong with a part, or with images in it."""
    for failure in outcome.failed if not outcome.before else ():
        print_error(failure["error"])
    if outcome.error:
        print_error(outcome.error)


def _summary(outcomes: list[Outcome]) -> dict[str, int]:
    here = [outcome for outcome in outcomes if not outcome.error]
    return {
        "parts": sum(not outcome.before for outcome in here),
        "parts_before": sum(outcome.before for outcome in here),
        "missing": len(outcomes) - len(here),
        "images": sum(outcome.images for outcome in here),
        "failed": sum(len(outcome.failed) for outcome in here),
    }


def _words(summary: dict[str, int]) -> str:
    words = f"{counted(summary['images'], 'image')} in {counted(summary['parts'], 'part')}"
    if summary["parts_before"]:
        words += f" and {summary['parts_before']:,} that were there before"
    if summary["failed"]:
        words += f"; {summary['failed']:,} could not be read"
    return words + (
        f"; {counted(summary['missing'], 'part')} could not be made" if summary["missing"] else ""
    )

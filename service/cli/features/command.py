"""`graft features`: images in, vectors out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from feature_extraction.byte_store import open_store
from feature_extraction.engines.choosing import ENGINES
from feature_extraction.engines.job import Job
from feature_extraction.extraction import ExtractionReport, all_settings, extract_to
from feature_extraction.formats import Format
from feature_extraction.items import ImageItem, Tally
from feature_extraction.manifest import NAME
from feature_extraction.part_files import FAILED
from feature_extraction.parts.making import PartMaker
from feature_extraction.parts.merging import Merged, merged_before
from feature_extraction.parts.places import open_place
from feature_extraction.parts.planning import Plan, plan_parts
from feature_extraction.quantized import quantized
from feature_extraction.sources import image_count, images, is_stream
from feature_extraction.web_images import WebImages
from models.errors import InputError, OutputError
from models.features import FeatureModel, FeatureOptions, open_features
from models.files import check_writable
from models.image_kinds import kind_of_name
from models.runtime import RuntimeConfig
from models.wording import counted, percent
from service.cli.features.parts import (
    Out,
    Share,
    make_share,
    merge,
    run_engine,
    run_here,
    tell_finished,
    tell_plan,
)
from service.cli.terminal.messages import print_error, print_guesses, print_note, print_passed_over
from service.cli.terminal.options import (
    allow_urls_option,
    cache_option,
    device_options,
    model_option,
    setting_options,
)
from service.cli.terminal.progress import download_progress, images_progress
from service.cli.terminal.text import columns


@click.command()
@click.argument("source")
@model_option
@setting_options(FeatureOptions, "cuts", flags={"cuts": ["--cut", "-c"]}, multiple=True, metavar="NAME")
@click.option("--out", "-o", type=Out(), required=True, help="Folder to write, or its address in a store.")
@click.option(
    "--format", "-f", "form", type=click.Choice(["npy", "npz", "parquet", "jsonl"]), default="npy",
    show_default=True, help="Kind of files.",
)  # fmt: skip
@setting_options(FeatureOptions, "pool", "normalize", "dtype")
@click.option(
    "--batch-size", type=click.IntRange(1), help="Images run at once.  [default: what suits the model]"
)
@click.option("--quantize", is_flag=True, help="Use an int8 version, calibrated on some of the images.")
@click.option(
    "--part-images",
    type=click.IntRange(1),
    help="Images in a part, in whole batches; 32 MB at most.  [default: 1024]",
)
@click.option(
    "--part",
    "share",
    type=Share(),
    metavar="K/N",
    help="Make the share K of N alone, anywhere; then --merge.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Only cut the source into parts, for --part.")
@click.option("--merge", "merging", is_flag=True, help="Finish a folder whose shares are all made.")
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(list(ENGINES)),
    help="Let an engine make the parts, then merge them.",
)
@click.option("--address", help="The engine's cluster.  [default: this machine; for ray, $RAY_ADDRESS]")
@click.option("--resume", is_flag=True, help="Go on where an earlier run ended.")
@cache_option
@allow_urls_option
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object.")
@device_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    model: str,
    cuts: tuple[tuple[str, ...], ...],
    out: Path | str,
    form: Format,
    batch_size: int | None,
    quantize: bool,
    part_images: int | None,
    share: tuple[int, int] | None,
    plan_only: bool,
    merging: bool,
    engine_name: str | None,
    address: str | None,
    resume: bool,
    cache: bool,
    allow_urls: tuple[str, ...],
    as_json: bool,
    device: str,
    threads: int | None,
    **options: Any,
) -> None:
    """Turn images into feature vectors, written part by part into a folder.

    SOURCE is a folder (with all below it), an image, a quoted glob, a list (.txt, .csv, .jsonl), a zip or tar archive,
    numbered shards such as 'shards/{000..127}.tar', a Parquet file of images, the address of one of these in a store
    such as s3://bucket/photos, a video ('film.mp4[::25]' for every 25th frame), or - for standard input. Images that
    cannot be read are reported and listed in failed.jsonl; the others are done, and the exit code is 1.
    """
    if sum((share is not None, plan_only, merging, engine_name is not None)) > 1:
        raise click.UsageError("--part, --plan, --merge and --engine exclude one another; give one of them.")
    if address and not engine_name:
        raise click.UsageError("--address is that of an engine; give --engine too.")
    if merging:
        ctx.exit(0 if merge(open_place(out), source, as_json=as_json) else 1)
    if isinstance(out, Path):
        _refuse_among_photos(source, out)
        check_writable(out / NAME)
    if quantize:
        model = _quantized(model, source, WebImages(allow_urls))
    features = _open(model, FeatureOptions(sum(cuts, ()), **options), device, threads)
    if engine_name and features.model.session.device.kind != "cpu":
        raise click.UsageError(
            "engines hand out cores; add --device cpu, or make shares with --part where the GPUs are."
        )
    if share is not None or plan_only or engine_name or not isinstance(out, Path):
        web = WebImages(allow_urls)
        if resume and (before := _merged_before(out, features, form, batch_size, part_images)):
            ctx.exit(0 if tell_finished(open_place(out), before, as_json=as_json) else 1)
        plan = _planned(out, source, features, form, batch_size, part_images, web)
        if plan_only:
            tell_plan(plan, as_json=as_json)
            return
        try:
            if engine_name:
                job = Job(plan, model, features.options, RuntimeConfig("cpu", threads), cache, web)
                done = run_engine(job, engine_name, address, as_json=as_json)
            else:
                with contextlib.ExitStack() as context:
                    store = context.enter_context(contextlib.closing(open_store())) if cache else None
                    if share is None:
                        maker = PartMaker(plan, features, store=store, threads=threads, web=web)
                        ctx.exit(0 if run_here(plan, maker, as_json=as_json) else 1)
                    done = make_share(
                        plan,
                        share,
                        features,
                        resume=resume,
                        store=store,
                        threads=threads,
                        web=web,
                        as_json=as_json,
                    )
        except KeyboardInterrupt:
            print_note(
                f"Interrupted; the parts that are finished are kept in {out}. Go on with the same command."
            )
            ctx.exit(130)
        ctx.exit(0 if done else 1)
    tally, report = Tally(), ExtractionReport()
    items: Iterable[ImageItem] = images(source, tally, WebImages(allow_urls))
    if is_stream(source):  # read now: Ctrl-C wakes no thread but this one
        items = list(items)
    with contextlib.ExitStack() as context:
        store = context.enter_context(contextlib.closing(open_store())) if cache else None
        progress = context.enter_context(
            images_progress(image_count(source) if sys.stderr.isatty() else None)
        )
        try:
            extract_to(
                out,
                items,
                features,
                form,
                resume=resume,
                store=store,
                threads=threads,
                batch_size=batch_size,
                part_images=part_images,
                report=report,
                on_failure=lambda _, error: print_error(error),
                progress=progress,
            )
        except KeyboardInterrupt:
            click.secho(
                f"Interrupted; the parts that are finished are kept in {out}. Go on with the same command and: "
                "--resume",
                err=True,
                fg="yellow",
            )
            ctx.exit(130)
        except OutputError as exc:  # a full disk in the middle: what is finished stays
            if not report.images + report.before:
                raise
            print_error(exc)
            ctx.exit(1)
        if store is not None and store.trouble:
            print_note(store.trouble)
    if as_json:
        click.echo(json.dumps(_as_json(report, features, source, out, form), indent=2))
    else:
        _print(report, features, out)
    print_passed_over(tally.words())
    if report.failed + report.failed_before:
        ctx.exit(1)


def _refuse_among_photos(source: str, out: Path) -> None:
    """See that features are not written among photos, where the next run would meet them.

    Raises:
        InputError: the folder holds images, or lies in the folder that they come from.
    """
    if os.path.isdir(source) and out.resolve().is_relative_to(Path(source).resolve()):
        raise InputError(
            f"{out}: lies in {source}, whose photos are read; features are written beside them, into a folder of their "
            "own. Choose another --out."
        )
    with contextlib.suppress(OSError):
        photo = next((entry.name for entry in out.iterdir() if kind_of_name(entry.name)), None)
        if photo is not None:
            raise InputError(
                f"{out}: holds photos, such as {photo}; features are written into a folder of their own. Choose "
                "another --out."
            )


def _open(model: str, options: FeatureOptions, device: str, threads: int | None) -> FeatureModel:
    config = RuntimeConfig(device, threads)
    with download_progress() as progress:
        features = open_features(model, options, config, progress=progress)
    print_guesses(model, features.model.notes)
    return features


def _merged_before(
    out: Path | str, features: FeatureModel, form: Format, batch_size: int | None, part_images: int | None
) -> Merged | None:
    """What is finished already, where nothing is left to be planned or cleared away."""
    place, size = open_place(out), batch_size or features.model.batch_size
    if Plan.open(place) is not None:
        return None
    return merged_before(place, all_settings(features, form, size, part_images))


def _planned(
    out: Path | str,
    source: str,
    features: FeatureModel,
    form: Format,
    batch_size: int | None,
    part_images: int | None,
    web: WebImages,
) -> Plan:
    if is_stream(source):
        raise click.UsageError(
            "parts are read by several processes, and standard input can be read only once."
        )
    tally = Tally()
    plan = plan_parts(
        open_place(out),
        source,
        features,
        form,
        batch_size=batch_size,
        part_images=part_images,
        tally=tally,
        web=web,
    )
    print_passed_over(tally.words())
    return plan


def _quantized(model: str, source: str, web: WebImages) -> str:
    if is_stream(source):
        raise click.UsageError(
            "--quantize looks at the images first, and standard input can be read only once."
        )
    return str(quantized(model, images(source, None, web)))


def _print(report: ExtractionReport, features: FeatureModel, out: Path) -> None:
    done = report.images + report.failed
    summary = f"{counted(report.images, 'image')} in {report.seconds:,.1f} s"
    if report.images:
        summary += f", {done / report.seconds:,.1f} images/s on {features.model.session.device}"
    click.echo(f"{out}: {summary}; {features.model.card.name} at {', '.join(features.cuts)}")
    if report.before:
        click.echo(f"  {report.before:,} were done before")
    if report.failed + report.failed_before:
        click.echo(f"  {report.failed + report.failed_before:,} could not be read: {out / FAILED}")
    times = report.timings
    busy = sum(times.seconds.values())
    rows = [
        (f"  {stage}", percent(seconds / busy, 0), f"{times.rate(stage) or 0:,.0f}", "images/s")
        for stage, seconds in times.seconds.items()
        if times.images[stage]
    ]
    if rows:
        click.echo(columns([("  stage", "time", "alone", ""), *rows], right=(1, 2)))


def _as_json(
    report: ExtractionReport, features: FeatureModel, source: str, out: Path, form: str
) -> dict[str, Any]:
    times, tuning = report.timings, report.tuning
    stages = {
        stage: {
            "images": times.images[stage],
            "seconds": round(times.seconds[stage], 4),
            "threads": times.threads[stage],
            "images_per_second": times.rate(stage),
        }
        for stage in times.seconds
    }
    return {
        "source": source,
        "out": str(out),
        "format": form,
        "model": features.model.card.name,
        "cuts": list(features.cuts),
        "device": str(features.model.session.device),
        "images": report.images,
        "failed": report.failed,
        "done_before": report.before,
        "failed_before": report.failed_before,
        "from_cache": max(0, times.images["cache"] - times.images["decode"]),
        "seconds": round(report.seconds, 4),
        "images_per_second": (report.images + report.failed) / report.seconds,
        "stages": stages,
        "split": vars(tuning.allocation) if tuning.allocation else None,
        "tried": [{**vars(split), "images_per_second": rate} for split, rate in tuning.rates.items()],
    }

"""`graft classify`: what is on these images?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import click

from feature_extraction.batches import decoded_batches
from feature_extraction.items import ImageItem, Tally
from feature_extraction.sources import image_count, images
from feature_extraction.web_images import WebImages
from models.errors import GraftError, SourceError
from models.model import Model
from service.cli.terminal.messages import print_error, print_note, print_passed_over
from service.cli.terminal.options import allow_urls_option, device_options, model_option, open_model
from service.cli.terminal.printers import Printer, printer
from service.cli.terminal.progress import images_progress
from service.results import image_results


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@model_option
@click.option(
    "--top-k",
    "-k",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Classes to print for each image.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each image.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Comma-separated, with a header: a line for each image and class."
)
@allow_urls_option
@device_options
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    model: str,
    top_k: int,
    as_json: bool,
    as_csv: bool,
    allow_urls: tuple[str, ...],
    device: str,
    threads: int | None,
) -> None:
    """Say what is on images, best guess first.

    A model that was fine-tuned says "none of these" where an image is like none of its classes; one for a regression
    gives its number.

    PATH is an image, a folder (with all below it), a quoted glob, a zip archive, or - for standard input. An image
    that cannot be read is reported on standard error; the others are answered, and the exit code is 1.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same answers: give one of them.")
    form = "json" if as_json else "csv" if as_csv else None
    opened = open_model(model, device, threads)
    if not opened.is_regression:
        opened.require_classifier()
    if opened.card.task == "multilabel" and form is None:
        print_note("Several labels may hold at once: each probability stands by itself.")
    source = _Source(paths, WebImages(allow_urls))
    # A bar beside answers that scroll by would only disturb.
    watched = sys.stderr.isatty() and not sys.stdout.isatty()
    counts = [image_count(path) for path in paths] if watched else [0]
    with images_progress(None if None in counts else sum(filter(None, counts))) as progress:
        answered = _classify(opened, source, printer(form, opened, top_k), progress)
    print_passed_over(source.tally.words())
    if source.failed:
        ctx.exit(1 if answered or source.images else 2)


class _Source:
    """The images of several paths; a path that gives none is complained of and passed over."""

    def __init__(self, paths: Sequence[str], web: WebImages) -> None:
        self._paths, self._web = paths, web
        self.tally = Tally()
        self.images = self.failed = 0

    def __iter__(self) -> Iterator[ImageItem]:
        for path in self._paths:
            try:
                for item in images(path, self.tally, self._web):
                    self.images += 1
                    yield item
            except SourceError as exc:
                self.fail(exc)

    def fail(self, error: GraftError) -> None:
        """Count a failure and say it."""
        self.failed += 1
        print_error(error)


def _classify(model: Model, source: _Source, printer: Printer, progress: Callable[[int], None]) -> int:
    """Classify all images in their order and return how many were answered."""
    done = 0
    items = ((item, None) for item in source)
    for batch in decoded_batches(items, model.card.preprocessing, model.batch_size):
        rows = iter(image_results(model, batch.pixels) if len(batch.pixels) else ())
        for i, (item, _) in enumerate(batch.items):
            if i in batch.failures:
                source.fail(batch.failures[i])
                printer.failure(item.id, batch.failures[i])
            else:
                printer.result(item.id, next(rows))
                done += 1
        progress(done + source.failed)
    return done

"""`graft models info`: what a model says about itself."""

from __future__ import annotations

from collections.abc import Iterator

import click

from models.card import Accuracy, ModelCard, Regression, Reject, Target
from models.locating import locate
from models.wording import counted, percent, size
from models.zoo import ZooRow, find
from service.cli.terminal.cards import model_and_card
from service.cli.terminal.text import clean, columns

_LABELS = 5


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="The whole card as JSON.")
def command(model: str, as_json: bool) -> None:
    """Show what a model says about itself.

    MODEL is a name from `graft models list`, or an ONNX file. Nothing is downloaded.
    """
    row = find(model)
    if row is not None and not row.file.is_file() and not as_json:
        click.echo(columns(list(_of_row(row))))
        return
    _, card = model_and_card(model)
    if as_json:
        click.echo(card.to_json())
        return
    path = locate(model)
    click.echo(columns([*_of_card(card), ("file", f"{clean(str(path))}, {size(path.stat().st_size)}")]))


def _of_row(row: ZooRow) -> Iterator[tuple[str, str]]:
    yield "name", row.name
    yield "what it is", row.description
    yield "weights", row.url or row.source
    if row.url:
        yield "sha256", row.sha256 or "not known: needs --allow-unpinned"
    yield "images", row.preprocessing.words()
    yield from (("accuracy", _accuracy(figure)) for figure in row.accuracy)
    yield "state", f"not on this machine; get it with: graft models pull {row.name}"


def _of_card(card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "name", clean(f"{card.name}, version {card.version}")
    if card.description:
        yield "what it is", clean(card.description)
    yield "task", card.task
    if card.target is not None:
        yield "gives", clean(_target(card.target))
    if card.labels:
        names = [label.name.partition(",")[0] for label in card.labels[:_LABELS]]
        dots = ["..."] if len(card.labels) > _LABELS else []
        yield "classes", clean(f"{len(card.labels):,}: {', '.join([*names, *dots])}")
    yield "images", card.preprocessing.words()
    yield (
        "normalised",
        f"mean {_numbers(card.normalization.mean)}, deviation {_numbers(card.normalization.std)}"
        + (", then blue first" if card.channels == "bgr" else ""),
    )
    if card.cuts:
        yield "cut points", clean(", ".join(cut.name for cut in card.cuts))
    yield from (("accuracy", _accuracy(figure)) for figure in card.accuracy)
    yield from (("error", _error(figure, card.target)) for figure in card.regression)
    if card.splits is not None:
        split = card.splits
        yield "images used", f"{split.train:,} to train, {split.val:,} to validate, {split.test:,} to test"
    if card.temperature is not None:
        yield "calibrated", f"temperature {card.temperature:.3g}"
    if card.reject is not None:
        yield "none of these", clean(_reject(card.reject))
    for name in ("licence", "source", "weights_sha256"):
        if getattr(card, name):
            yield {"weights_sha256": "sha256"}.get(name, name), clean(getattr(card, name))


def _accuracy(figure: Accuracy) -> str:
    top5 = "" if figure.top5 is None else f", top-5 {percent(figure.top5, 2)}"
    where = f"on {counted(figure.images, 'image')} of {figure.where}"
    between = ""
    if figure.interval is not None:
        low, high = figure.interval
        between = f" (95 % confidence: {percent(low, 2)} to {percent(high, 2)})"
    source = f" ({figure.source})" if figure.source else ""
    return clean(f"top-1 {percent(figure.top1, 2)}{between}{top5} {where}{source}")


def _error(figure: Regression, target: Target | None) -> str:
    unit = f" {target.unit}" if target is not None and target.unit else ""
    r2 = "" if figure.r2 is None else f", R2 {figure.r2:.3f}"
    source = f" ({figure.source})" if figure.source else ""
    return clean(
        f"mean absolute {figure.mae:.4g}{unit}, mean squared {figure.mse:.4g}{r2} on {figure.images:,} images of "
        f"{figure.where}{source}"
    )


def _target(target: Target) -> str:
    text = f"{target.name} in {target.unit}" if target.unit else target.name
    if target.half_width is None:
        return text
    how = "" if target.coverage is None else f" {percent(target.coverage, 0)} of the time"
    return f"{text}, within {target.half_width:.4g} of the truth{how}"


def _reject(reject: Reject) -> str:
    kind = f"{reject.kind} " if reject.kind else ""
    text = f"{kind}score above {reject.threshold:.4g}; {percent(reject.kept)} of images held out are below"
    known = f" ({reject.measured})" if reject.measured else ""
    if reject.auroc is None:
        return f"{text}{known}"
    low, high = reject.interval or (reject.auroc, reject.auroc)
    around = f", {low:.2f} to {high:.2f} to be expected" if reject.interval else ""
    return f"{text}, AUROC {reject.auroc:.3f}{around}{known}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)

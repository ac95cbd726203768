"""The ways in which `graft classify` prints its results: for people, as JSON lines, as CSV."""

from __future__ import annotations

import csv
import json
import sys
from typing import Protocol

import click

from models.card import ModelCard
from models.errors import GraftError
from models.model import Model
from models.wording import percent
from service.cli.terminal.text import bar, clean, encodable, fit, terminal_width, width_of
from service.encoding import interval, result_json
from service.results import ImageResult


class Printer(Protocol):
    """Prints one image after the other."""

    def result(self, image: str, result: ImageResult) -> None:
        """Print what is on an image."""

    def failure(self, image: str, error: GraftError) -> None:
        """Print that an image could not be read, where standard error is not enough: it has that already."""


class TextPrinter:
    """The name of the image, then a line with a bar for each class, or the value of a regression."""

    def __init__(self, model: Model, top_k: int) -> None:
        self._first = True
        self._model, self._top_k = model, top_k
        screen = terminal_width()
        longest = max((width_of(label.name) for label in model.card.labels), default=0)
        self._name = min(longest, screen // 2 - 8)
        self._bar = min(40, screen - self._name - (34 if model.is_multilabel else 14))

    def result(self, image: str, result: ImageResult) -> None:
        """Print what is on an image."""
        click.echo(("" if self._first else "\n") + click.style(clean(image), bold=True))
        self._first = False
        if result.value is not None:
            click.echo(f"  {clean(_value_text(result.value, self._model.card))}")
        if result.probabilities is None:
            return
        if result.rejected:
            click.echo(f"  {click.style('none of these', fg='yellow', bold=True)}{self._why(result)}")
        best = "yellow" if result.rejected else "green"
        alone = self._model.is_multilabel  # each label holds or does not by itself
        holding = self._model.holding(result.probabilities) if alone else [0]
        if alone:
            names = ", ".join(clean(self._model.card.labels[index].name) for index in holding)
            click.echo(f"  {click.style(names, bold=True) if names else 'no label holds'}")
        for rank, guess in enumerate(self._model.top(result.probabilities, self._top_k)):
            held = (guess.index if alone else rank) in holding
            drawn = click.style(bar(guess.probability, self._bar), fg=best if held else "cyan")
            name = fit(clean(guess.label.name), self._name)
            since = f"  holds from {percent(float(self._model.thresholds[guess.index]))}" if alone else ""
            click.echo(f"  {name}  {drawn} {percent(guess.probability):>7}{since}")

    def failure(self, image: str, error: GraftError) -> None:
        """Nothing: standard error has it."""

    def _why(self, result: ImageResult) -> str:
        reject = self._model.card.reject
        if reject is None:
            return ""
        return f" (score {result.reject_score:.4g}, threshold {reject.threshold:.4g}); it looks most like"


class JsonPrinter:
    """One JSON object a line: {"image", "predictions"} or {"image", "value"}, or {"image", "error"}."""

    def __init__(self, model: Model, top_k: int) -> None:
        self._model, self._top_k = model, top_k

    def result(self, image: str, result: ImageResult) -> None:
        """Print what is on an image."""
        click.echo(json.dumps({"image": image, **result_json(result, self._model, self._top_k)}))

    def failure(self, image: str, error: GraftError) -> None:
        """Print the reason."""
        click.echo(json.dumps({"image": image, "error": str(error)}))


class CsvPrinter:
    """A header, then a line for each image and class, or for each image of a regression.

    A model that can tell what is none of its classes has two columns more, and so has one of which several labels may
    hold.
    """

    def __init__(self, model: Model, top_k: int) -> None:
        self._model, self._top_k = model, top_k
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        header: tuple[str, ...] = ("image", "rank", "id", "label", "probability")
        if model.is_regression:
            header = ("image", "value", "low", "high", "unit")
        elif model.is_multilabel:
            header = (*header, "threshold", "holds")
        elif model.rejects:
            header = (*header, "rejected", "reject_score")
        self._writer.writerow(header)

    def result(self, image: str, result: ImageResult) -> None:
        """Print what is on an image."""
        values, image = result_json(result, self._model, self._top_k), encodable(image)
        if result.value is not None:
            low, high = values.get("interval", ("", ""))
            self._writer.writerow((image, values["value"], low, high, encodable(values.get("unit", ""))))
        reject = (str(values["rejected"]).lower(), values["reject_score"]) if "rejected" in values else ()
        for rank, row in enumerate(values.get("predictions", ()), 1):
            texts = (encodable(text) for text in (row["id"], row["label"]))
            holds = (
                (row["threshold"], str(row["label"] in values["labels"]).lower())
                if "threshold" in row
                else ()
            )
            self._writer.writerow((image, rank, *texts, row["probability"], *holds, *reject))

    def failure(self, image: str, error: GraftError) -> None:
        """Nothing: standard error has it."""


def printer(form: str | None, model: Model, top_k: int) -> Printer:
    """The printer for `form`: "json", "csv" or None for people."""
    if form == "json":
        return JsonPrinter(model, top_k)
    return CsvPrinter(model, top_k) if form == "csv" else TextPrinter(model, top_k)


def _value_text(value: float, card: ModelCard) -> str:
    """The value of a regression with its unit, and where the truth lies."""
    target = card.target
    unit = f" {target.unit}" if target is not None and target.unit else ""
    text = f"{target.name if target is not None else 'value'}  {value:.4g}{unit}"
    bounds = interval(value, card)
    if bounds is None or target is None:
        return text
    how = "" if target.coverage is None else f", {percent(target.coverage, 0)} of the time"
    return f"{text}, within {bounds[0]:.4g} to {bounds[1]:.4g}{how}"

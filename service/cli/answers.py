"""The ways in which `graft classify` prints what it found: for people, as JSON lines, as CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from typing import Protocol

import click

from models.card import ModelCard
from models.errors import GraftError
from models.model import Prediction
from service.cli.text import bar, clean, encodable, fit, percent, terminal_width, width_of
from service.encoding import predictions_json


class Answers(Protocol):
    """Prints one image after the other."""

    def answer(self, image: str, predictions: Sequence[Prediction]) -> None:
        """Print what is on an image."""

    def failure(self, image: str, error: GraftError) -> None:
        """Print that an image could not be read; standard error has been told already."""


class Text:
    """The name of the image, then a line with a bar for each class."""

    def __init__(self, card: ModelCard) -> None:
        self._first = True
        screen = terminal_width()
        longest = max((width_of(label.name) for label in card.labels), default=0)
        self._name = min(longest, screen // 2 - 8)
        self._bar = min(40, screen - self._name - 14)

    def answer(self, image: str, predictions: Sequence[Prediction]) -> None:
        """Print what is on an image."""
        click.echo(("" if self._first else "\n") + click.style(clean(image), bold=True))
        self._first = False
        for rank, guess in enumerate(predictions):
            drawn = click.style(bar(guess.probability, self._bar), fg="green" if rank == 0 else "cyan")
            click.echo(
                f"  {fit(clean(guess.label.name), self._name)}  {drawn} {percent(guess.probability):>7}"
            )

    def failure(self, image: str, error: GraftError) -> None:
        """Nothing: standard error has it."""


class JsonLines:
    """One JSON object a line: {"image", "predictions"} or {"image", "error"}."""

    def answer(self, image: str, predictions: Sequence[Prediction]) -> None:
        """Print what is on an image."""
        click.echo(json.dumps({"image": image, "predictions": predictions_json(predictions)}))

    def failure(self, image: str, error: GraftError) -> None:
        """Print the reason."""
        click.echo(json.dumps({"image": image, "error": str(error)}))


class Csv:
    """A header, then a line for each image and class."""

    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(("image", "rank", "id", "label", "probability"))

    def answer(self, image: str, predictions: Sequence[Prediction]) -> None:
        """Print what is on an image."""
        for rank, row in enumerate(predictions_json(predictions), 1):
            texts = (encodable(text) for text in (row["id"], row["label"]))
            self._writer.writerow((encodable(image), rank, *texts, row["probability"]))

    def failure(self, image: str, error: GraftError) -> None:
        """Nothing: standard error has it."""


def answers(form: str | None, card: ModelCard) -> Answers:
    """The printer for `form`: "json", "csv" or None for people."""
    if form == "json":
        return JsonLines()
    return Csv() if form == "csv" else Text(card)

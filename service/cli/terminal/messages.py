"""What commands say on standard error, beside their results."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from service.cli.terminal.text import clean


def print_error(error: object) -> None:
    """An error or its text, in one line."""
    _print(f"Error: {error}", "red")


def print_warning(text: str) -> None:
    """What may make results worse than they look."""
    _print(f"Warning: {text}", "yellow")


def print_note(text: str) -> None:
    """What a person should know and need not mend."""
    _print(text, "yellow")


def print_guesses(spec: str, notes: Iterable[str]) -> None:
    """What had to be guessed about a model."""
    for note in notes:
        print_note(f"{spec}: {note}")


def print_passed_over(words: str) -> None:
    """What of a source was passed over, where there is any."""
    if words:
        click.secho(f"{clean(words)} passed over", err=True, dim=True)


def _print(text: str, colour: str) -> None:
    # Through the stream as it is now: a progress bar puts its own there, which keeps lines out of the bar.
    click.secho(clean(text), file=sys.stderr, fg=colour)

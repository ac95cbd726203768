"""How a fine-tuning run shows itself on standard error: a bar where a person looks, a line a stage elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from finetune.job.observing import STAGES, LineObserver, Observer, epoch_words
from service.cli.terminal.messages import print_note
from service.cli.terminal.text import clean

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from finetune.training.result import EpochProgress


@contextlib.contextmanager
def terminal_observer() -> Iterator[Observer]:
    """An observer for the command line."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    # rich is imported only where a bar is drawn
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    # In 80 columns everything fits but the bar, which alone may shrink.
    left = TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True, min_width=7))
    columns = (
        TextColumn("{task.description:<25}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}"),
        left,
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Lines(LineObserver):
    """Lines on standard error; nothing that would have to be overwritten."""

    def __init__(self) -> None:
        super().__init__(lambda line: click.echo(clean(line), err=True))

    def say(self, text: str) -> None:
        print_note(text)


class _Bars(Observer):
    """A bar for each stage that takes time."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = None if not bars else bars.add_task("", visible=False, figures="")
        self._figures = ""

    def begin(self, stage: str, total: int | None = None) -> None:
        self._stage = stage
        self._task = self._bars.add_task(
            STAGES.get(stage, stage), total=total, visible=stage in STAGES, figures=""
        )

    def advance(self, done: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, figures=f"{done:,}")

    def train(self, progress: EpochProgress) -> None:
        if self._task is None:
            return
        if progress.step == progress.steps:  # then validation is of the same weights
            self._figures = epoch_words(progress)
        steps = progress.steps * progress.epochs
        done = progress.steps * (progress.epoch - 1) + progress.step
        self._bars.update(
            self._task,
            description=f"training the {progress.phase} {progress.epoch}/{progress.epochs}",
            total=steps,
            completed=done,
            figures=self._figures,
        )

    def end(self, stage: str, seconds: float) -> None:
        if self._task is not None:
            task = next(task for task in self._bars.tasks if task.id == self._task)
            self._bars.update(self._task, total=task.total or 1, completed=task.total or 1)

    def say(self, text: str) -> None:
        self._bars.console.print(clean(text), style="yellow", markup=False, highlight=False)

"""Progress on standard error, where a person is looking."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.store import DownloadProgress

_WORTH_A_BAR = 32  # images; fewer are done before it can be read


@contextlib.contextmanager
def images_progress(total: int | None, then: str = "images") -> Iterator[Callable[[int], None]]:
    """A bar over `total` images with rate and time left, where they are worth one; None is not known.

    The function given takes how many are done. `then`: what the bar says when all of them are, where work goes on.
    """
    if (total is not None and total < _WORTH_A_BAR) or not sys.stderr.isatty():
        yield lambda done: None
        return
    # rich is imported only where a bar is drawn
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda done: bar.update(
            task, completed=done, description="images" if total is None or done < total else then
        )


@contextlib.contextmanager
def download_progress() -> Iterator[DownloadProgress]:
    """A bar for each file that is downloaded; nothing is drawn before the first byte."""
    with contextlib.ExitStack() as stack:
        tasks: dict[str, Callable[[int, int | None], None]] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if sys.stderr.isatty():
                if name not in tasks:
                    tasks[name] = stack.enter_context(_download_bar(name))
                tasks[name](done, total)

        yield report


@contextlib.contextmanager
def _download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

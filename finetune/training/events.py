"""Event files of a training for TensorBoard. A resumed run cuts off what the killed one wrote behind its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

from finetune import tensorboard
from finetune.autodiff import Session
from finetune.training.network import Network
from finetune.training.result import Epoch
from models.errors import GraphError

Marks = list[tuple[str, int]]

POINTS = 10  # of the curve of steps, in an epoch
_SAMPLE = 65536  # numbers of a variable that go into its histogram


class Events:
    """Writes curves, histograms and the graph into `folder`; nothing where that is None or tensorboardX is not there.

    `marks`: sizes of the files there at the checkpoint from which this run goes on; none for a run that begins.
    """

    def __init__(self, folder: Path | None, marks: Marks) -> None:
        self.folder = folder
        self.notes: tuple[str, ...] = ()
        self._writer: tensorboard.Writer | None = None
        if folder is None:
            return
        _cut_back(folder, dict(marks))
        try:
            self._writer = tensorboard.Writer(folder)
        except GraphError as exc:
            self.notes = (f"No event files for TensorBoard: {exc}",)

    def graph(self, network: Network, session: Session) -> None:
        """The graph of a phase."""
        if self._writer:
            self._writer.graph(network.graph, session.device)

    def step(self, phase: str, done: int, steps: int, loss: float, rate: float, number: int) -> None:
        """After step `done` of `steps` in an epoch; `number` counts the steps of the phase."""
        if self._writer and done % math.ceil(steps / POINTS) == 0:
            self._writer.scalar(f"{phase}/step/loss", loss, number)
            self._writer.scalar(f"{phase}/step/rate", rate, number)

    def epoch(self, phase: str, epoch: Epoch, number: int, network: Network, session: Session) -> None:
        """At the end of epoch `number`, from 1. Of large variables every so manieth number goes into the histogram."""
        if not self._writer:
            return
        for name in ("rate", "loss", "accuracy", "r2", "val_loss", "val_refined", "val_accuracy", "val_r2"):
            value = getattr(epoch, name)
            if value is not None:
                self._writer.scalar(f"{phase}/epoch/{name}", value, number)
        for variable in network.trained:
            values = session.value(variable).reshape(-1)
            self._writer.histogram(
                f"{phase}/{variable.name}", values[:: math.ceil(values.size / _SAMPLE)], number
            )

    def marks(self) -> Marks:
        """Names and sizes of all event files, with all that was written in them."""
        if not self._writer or not self.folder:
            return []
        self._writer.flush()
        return sorted((path.name, path.stat().st_size) for path in _files(self.folder))

    def close(self) -> None:
        """Finish the file."""
        if self._writer:
            self._writer.close()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*tfevents*") if path.is_file()]


def _cut_back(folder: Path, sizes: dict[str, int]) -> None:
    for path in _files(folder):
        size = sizes.get(path.name)
        if size is None:
            path.unlink()
        elif path.stat().st_size > size:
            with path.open("r+b") as file:
                file.truncate(size)

"""Steps of training in several processes: each computes gradients of its rows, which are added up and applied by all.

One float32 buffer holds the gradients of all variables, and behind them what else is added up. The loss is a mean
over rows, or one weighted by their classes: so each process multiplies by its part of the batch's whole weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff import Session
from finetune.training.data import Array
from finetune.training.learner import Inferred, Plan, Stepped, infer
from finetune.workers.team import Team, Worker

_LOSS, _HITS, _FAILED, _INTERRUPTED = -4, -3, -2, -1  # places in the buffer
_EXTRA = 4
_PORTION = "portion"


class Portion:
    """The network of a plan in one process, and the buffer in which its gradients meet those of the others."""

    def __init__(self, plan: Plan, device: str, threads: int) -> None:
        self.network = network = plan.build(split=True)
        self.session = Session(network.graph, device, threads=threads)
        assert network.split is not None  # asked for
        self._step = network.split
        self._fetches = [network.split.loss, *network.split.gradients]
        if network.hits is not None:
            self._fetches.append(network.hits)
        shapes = [variable.sizes for variable in network.trained]
        sizes = [math.prod(shape) for shape in shapes]
        self.buffer = np.zeros(sum(sizes) + _EXTRA, np.float32)
        ends = np.cumsum(sizes)
        self._gradients = [
            self.buffer[end - size : end].reshape(shape)
            for end, size, shape in zip(ends, sizes, shapes, strict=True)
        ]

    def compute(self, x: Array, y: Array, rows: NDArray[np.int64], share: np.float32) -> BaseException | None:
        """Fill the buffer from `rows` of a batch, which have this `share` of its weight; what went wrong if it did."""
        self.buffer[:] = 0.0
        if not len(rows):
            return None
        network = self.network
        assert network.graph.rows is not None  # a step in two runs has it
        feeds = {network.x: x, network.y: y, network.graph.rows: rows}
        try:
            loss, *values = self.session.run(self._fetches, feeds, training=True)
        except Exception as exc:  # the others wait for this process: they must hear of it
            self.buffer[_FAILED] = 1.0
            return exc
        for into, gradient in zip(self._gradients, values, strict=False):
            np.multiply(gradient, share, out=into)
        self.buffer[_LOSS] = loss * share
        self.buffer[_HITS] = values[-1] if network.hits is not None else 0.0
        return None

    @property
    def failed(self) -> bool:
        """Whether it went wrong in one of the processes whose buffers were added up."""
        return bool(self.buffer[_FAILED] > 0)

    def apply(self) -> Stepped:
        """Take the step with the gradients in the buffer."""
        feeds = dict(zip(self._step.reduced, self._gradients, strict=True))
        _, rate = self.session.run([self._step.apply, self.network.rate], feeds)
        return Stepped(
            float(self.buffer[_LOSS]),
            float(self.buffer[_HITS]),
            float(rate),
            bool(self.buffer[_INTERRUPTED] > 0),
        )


class SharedLearner:
    """A `Learner` whose batches are shared by all processes of a team."""

    def __init__(self, team: Team, plan: Plan, device: str, threads: int | None) -> None:
        self._team, self._plan = team, plan
        team.tell(_Start(plan, device, threads))
        self._portion = Portion(plan, device, threads or team.threads)
        team.replies()
        self.network, self.session = self._portion.network, self._portion.session

    def share(self) -> None:
        """See `Learner`."""
        self._team.tell(_Load({v.name: self.session.value(v) for v in self.network.kept}))
        self._team.replies()

    def step(self, x: Array, y: Array) -> Stepped:
        """See `Learner`; what the first process that fails says is the error."""
        team, portion = self._team, self._portion
        rows = np.array_split(np.arange(len(y)), team.group.size)
        whole = _weight(self._plan, y)
        shares = [np.float32(_weight(self._plan, y[own]) / whole) for own in rows]
        pieces = [_Step(x[own], y[own], own, share) for own, share in zip(rows, shares, strict=True)]

        def added_up() -> BaseException | None:
            team.send(pieces[1:])
            error = portion.compute(pieces[0].x, pieces[0].y, rows[0], shares[0])
            team.group.all_reduce(portion.buffer)
            return error

        error = team.together(added_up)
        if portion.failed:
            raise team.failure(error)
        stepped = portion.apply()
        return stepped._replace(interrupted=stepped.interrupted or team.interrupted)

    def infer(self, which: Inferred, x: Array, size: int) -> Array:
        """See `Learner`; each process computes a part of `size` rows."""
        values = []
        for first in range(0, len(x), size):
            own, *theirs = np.array_split(np.asarray(x[first : first + size]), self._team.group.size)
            self._team.send([_Infer(which, part) for part in theirs])
            values.append(infer(self.network, self.session, which, own, size))
            values += self._team.replies()
        return np.concatenate(values) if values else infer(self.network, self.session, which, x, size)


def _weight(plan: Plan, y: Array) -> float:
    """How much the rows with targets `y` count in the mean that the loss is."""
    if plan.weights is None or y.ndim != 1:
        return float(len(y))
    return float(np.asarray(plan.weights, np.float64)[y].sum())


@dataclass(frozen=True)
class _Start:
    """Build the network of a plan, in place of the one before."""

    plan: Plan
    device: str
    threads: int | None
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> None:
        worker.state[_PORTION] = Portion(self.plan, self.device, self.threads or worker.threads)


@dataclass(frozen=True)
class _Load:
    """Set variables by their names."""

    values: dict[str, Array]
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> None:
        portion: Portion = worker.state[_PORTION]
        portion.session.load({v: self.values[v.name] for v in portion.network.kept})


@dataclass(frozen=True)
class _Step:
    """Take part in a step, with some rows of a batch."""

    x: Array = field(repr=False)
    y: Array = field(repr=False)
    rows: NDArray[np.int64]
    share: np.float32
    answered: ClassVar[bool] = False

    def do(self, worker: Worker) -> None:
        portion: Portion = worker.state[_PORTION]
        error = portion.compute(self.x, self.y, self.rows, self.share)
        portion.buffer[_INTERRUPTED] = worker.interrupted
        worker.group.all_reduce(portion.buffer)
        if portion.failed:
            worker.reply(error=error)
        else:
            portion.apply()


@dataclass(frozen=True)
class _Infer:
    """Compute a tensor for some rows."""

    which: Inferred
    x: Array = field(repr=False)
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> Array:
        portion: Portion = worker.state[_PORTION]
        return infer(portion.network, portion.session, self.which, self.x, max(1, len(self.x)))

"""A network that takes steps: what a phase of training needs of it, whether one process computes it or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from finetune.autodiff import Session
from finetune.autodiff.program import Fetch
from finetune.autodiff.schedules import Schedule
from finetune.training.data import Array
from finetune.training.network import Blocks, Network, build
from finetune.training.settings import Settings

Inferred = Literal["outputs", "pooled"]  # tensors of `Network` that are computed without training


@dataclass(frozen=True)
class Plan:
    """All that a network is built from; it pickles, so that other processes can build the same. See `network.build`."""

    settings: Settings
    classes: int
    shape: tuple[int, ...]
    rate: Schedule
    weights: Sequence[float] | None = None
    blocks: Blocks | None = None
    several: bool = False

    def build(self, *, split: bool = False) -> Network:
        """The network; `split`: with a step in two runs, see `Network.split`."""
        return build(
            self.settings,
            self.classes,
            self.shape,
            self.rate,
            several=self.several,
            weights=self.weights,
            blocks=self.blocks,
            split=split,
        )


class Stepped(NamedTuple):
    """What a step came to: the mean loss, how many of the batch were right, the rate, and whether to stop here."""

    loss: float
    hits: float
    rate: float
    interrupted: bool = False


class Learner(Protocol):
    """A network and the values of its variables in `session`."""

    network: Network
    session: Session

    def share(self) -> None:
        """Give all who compute the values of `session`: called when they have been set."""

    def step(self, x: Array, y: Array) -> Stepped:
        """Change the variables once, by a batch.

        Raises:
            NumericsError: the loss is NaN or infinite; no variable has changed.
        """

    def infer(self, which: Inferred, x: Array, size: int) -> Array:
        """What the network gives for rows of `x`, which may be a memory map; `size` of them are computed at once."""


Starter = Callable[[Plan, str, int | None], Learner]


class LocalLearner:
    """One in this process alone, on `device` with `threads`."""

    def __init__(self, plan: Plan, device: str, threads: int | None) -> None:
        self.network = network = plan.build()
        self.session = Session(network.graph, device, threads=threads)
        self._fetches: list[Fetch] = [network.train, network.loss, network.rate]
        if network.hits is not None:
            self._fetches.append(network.hits)

    def share(self) -> None:
        """Nobody else computes."""

    def step(self, x: Array, y: Array) -> Stepped:
        """See `Learner`."""
        feeds = {self.network.x: x, self.network.y: y}
        _, loss, rate, *hits = self.session.run(self._fetches, feeds)
        return Stepped(float(loss), float(hits[0]) if hits else 0.0, float(rate))

    def infer(self, which: Inferred, x: Array, size: int) -> Array:
        """See `Learner`."""
        return infer(self.network, self.session, which, x, size)


def infer(network: Network, session: Session, which: Inferred, x: Array, size: int) -> Array:
    """Values of a tensor of `network` for rows of `x`, in inference, `size` rows at a time."""
    tensor = getattr(network, which)
    values = np.empty((len(x), *(side or 0 for side in tensor.shape[1:])), tensor.dtype)
    for first in range(0, len(x), size):
        part = slice(first, first + size)
        values[part] = session.run(tensor, {network.x: np.asarray(x[part])})
    return values

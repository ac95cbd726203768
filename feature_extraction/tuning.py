"""How the cores are shared between decoding and the network: tried out on the first images, kept for the rest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from feature_extraction.items import ImageItem
from feature_extraction.pipeline import Allocation, Cache, run_pipeline
from feature_extraction.timings import Timings
from feature_extraction.worker import Vectors, View, Worker
from models.cores import cores
from models.features import FeatureModel

TRIAL = 1.5  # seconds for each candidate; its vectors are kept, so a trial costs only what it is slower
_RUNNERS = 4  # more would each hold their own activations


@dataclass
class Tuning:
    """What was tried, in images a second, and what was taken."""

    rates: dict[Allocation, float] = field(default_factory=dict)
    allocation: Allocation | None = None


def candidates(kind: str, threads: int | None, count: int) -> list[Allocation]:
    """Ways to share `count` cores, the likely best first; `threads` fixes those of a run.

    Decoders that have nothing to do sleep, so there is one a core. On a CPU the network may run one batch on all
    cores, or several batches on a part of them each: less waiting for one another, more memory. A GPU is kept busy
    by a second batch while the results of the first come back.
    """
    if kind != "cpu":
        return [Allocation(count, 2, threads)]
    if threads is not None or count == 1:
        return [Allocation(count, 1, threads or 1)]
    runners = min(_RUNNERS, count)
    return [Allocation(count, 1, count), Allocation(count, runners, max(1, count // runners))]


def run_tuned(
    features: FeatureModel,
    items: Iterable[ImageItem],
    *,
    batch_size: int,
    allocations: list[Allocation],
    cache: Cache | None = None,
    timings: Timings | None = None,
    tuning: Tuning | None = None,
    views: Sequence[View] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[Vectors, None, None]:
    """As `run_pipeline`, with the fastest of `allocations`: each has a turn, then the best one has the rest.

    All the vectors are kept. The choice changes no vector: onnxruntime's CPU kernels add up in the same order
    however many threads there are.
    """
    tuning = tuning if tuning is not None else Tuning()
    stream = iter(items)
    opened: dict[Allocation, FeatureModel] = {}

    def share(allocation: Allocation, part: Iterable[ImageItem]) -> Generator[Vectors, None, None]:
        if allocation not in opened:
            opened[allocation] = _with_threads(features, allocation)
        worker = Worker(opened[allocation])
        return run_pipeline(
            worker,
            part,
            batch_size=batch_size,
            allocation=allocation,
            cache=cache,
            timings=timings,
            views=views,
        )

    for allocation in allocations if len(allocations) > 1 else ():
        turn = _Turn(stream, batch_size, clock)
        yield from share(allocation, turn)
        tuning.rates[allocation] = turn.images / max(clock() - turn.began, 1e-9)
        if turn.ended:  # too few images to choose
            tuning.allocation = allocation
            return
    best = max(tuning.rates, key=tuning.rates.__getitem__, default=allocations[0])
    tuning.allocation = best
    for other in set(opened) - {best}:  # free their memory
        del opened[other]
    yield from share(best, stream)


class _Turn:
    """The next images of a stream for some time, in whole batches, so that later ones are cut as without a turn."""

    def __init__(self, stream: Iterator[ImageItem], batch_size: int, clock: Callable[[], float]) -> None:
        self._stream, self._batch_size, self._clock = stream, batch_size, clock
        self.images = 0
        self.ended = False
        self.began = clock()

    def __iter__(self) -> Iterator[ImageItem]:
        self.began = self._clock()
        while self._clock() - self.began < TRIAL:
            before = self.images
            for item in islice(self._stream, self._batch_size):  # one by one: the stream may break off
                self.images += 1
                yield item
            self.ended = self.images - before < self._batch_size
            if self.ended:
                return


def _with_threads(features: FeatureModel, allocation: Allocation) -> FeatureModel:
    config = features.model.session.config
    if (config.threads or cores()) == allocation.threads or features.model.session.device.kind != "cpu":
        return features
    return features.reopen(dataclasses.replace(config, threads=allocation.threads))

"""What fuzzers of requests have in common: bytes changed, tensors seen as pixels, and outcomes counted."""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from service.protocols.tensors import BYTES, InferRequest
from service.protocols.views import to_pixels

SIZE = (2, 2)
PIXELS = bytes(range(12))


def scrambled(data: bytes, rng: random.Random) -> bytes:
    """Bytes with some changed, cut off, doubled or added."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(made) + 1)
        match rng.randrange(4):
            case 0 if position < len(made):
                made[position] = rng.randrange(256)
            case 1:
                del made[position:]
            case 2:
                made[position:position] = rng.randbytes(rng.choice((1, 4, 9)))
            case _:
                made += made[:position]
    return bytes(made)


def check_pixels(asked: InferRequest) -> None:
    """See the tensors of a request that have numbers as pixels.

    Raises:
        GraftError: they are none.
    """
    for tensor in asked.inputs:
        if tensor.datatype != BYTES:
            to_pixels(tensor.values, SIZE, tensor.name, whole=tensor.is_whole)


def outcomes_of(
    inputs: Iterable[tuple[Any, ...]], read: Callable[..., object], refusals: tuple[type[Exception], ...]
) -> collections.Counter[str]:
    """How many inputs are read, and how many end in each of the errors that may be; another error shows its input."""
    outcomes: collections.Counter[str] = collections.Counter()
    for place, arguments in enumerate(inputs):
        try:
            read(*arguments)
            outcomes["read"] += 1
        except refusals as exc:
            outcomes[type(exc).__name__] += 1
        except BaseException:
            print(f"input {place}: {arguments!r}")
            raise
    return outcomes


def run(
    description: str | None,
    inputs: Callable[[int], Iterator[tuple[Any, ...]]],
    read: Callable[..., object],
    refusals: tuple[type[Exception], ...],
) -> None:
    """Read as many of the inputs that a seed makes as the command line says, and print what becomes of them."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    outcomes = outcomes_of(itertools.islice(inputs(given.seed), given.inputs), read, refusals)
    print(f"{given.inputs:,} inputs in {time.monotonic() - began:.0f} s: {dict(outcomes)}")

"""What processes that work together need of the library that connects them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Group(Protocol):
    """`size` processes; `rank` is the number of this one, from 0. Each message comes once, in the order of sending."""

    rank: int
    size: int

    def send(self, value: Any, receiver: int) -> None:
        """Send a value that pickles to another process."""

    def receive(self, sender: int) -> Any:
        """Wait for the next value from another process."""

    def all_reduce(self, array: NDArray[np.float32]) -> None:
        """Replace `array` (P,) in every process by the sum of all of theirs, to the bit the same everywhere."""

    def abort(self) -> None:
        """End all processes at once, when they cannot be told any more."""

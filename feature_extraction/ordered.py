"""Work done ahead in threads, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def ordered_map(
    function: Callable[[_Given], _Made], inputs: Iterable[_Given], *, threads: int, ahead: int, name: str
) -> Generator[_Made, None, None]:
    """The results for all inputs, in their order; at most `ahead` of them exist before they are asked for."""
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(threads, name) as pool:
        try:
            for one in inputs:
                waiting.append(pool.submit(function, one))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller may stop early: what has not begun is not begun
            pool.shutdown(wait=False, cancel_futures=True)

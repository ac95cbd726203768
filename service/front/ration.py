"""What a turn of the loop may cost: the bytes of bodies that it goes on with, over all connections."""

from __future__ import annotations

import asyncio
from collections import deque


class Ration:
    """So many bytes are for each turn of the loop; who wants more waits for the next ones, in the order of coming.

    A new client has its answer after several turns, which would otherwise take as long as there are bodies to read. A
    turn may have twice as many where some have waited for it and others come anew.
    """

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, count: int) -> None:
        """Return when a turn has something left; `count` bytes are taken from it, though it has fewer."""
        if self._left > 0:
            self._spend(count)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, count))
        await future

    def _spend(self, count: int) -> None:
        if count and self._left == self._size:
            asyncio.get_running_loop().call_soon(self._renew)
        self._left -= count

    def _renew(self) -> None:
        self._left = self._size
        while self._waiting and self._left > 0:
            future, count = self._waiting.popleft()
            if not future.done():  # else its client has left
                self._spend(count)
                future.set_result(None)

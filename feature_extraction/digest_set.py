"""Which texts have come before, in little memory."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_PLACES = 1024  # at first; always a power of two
_BYTES = 8  # of a digest: among a million texts two have the same one with a chance of 3 in 100 million


class DigestSet:
    """A set of texts that keeps 8 bytes of the digest of each: with free places 16 to 32, where a set takes a hundred.

    A table with open addressing and linear probing (Knuth, The Art of Computer Programming, 6.4, algorithm L).
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(_BYTES * _PLACES))  # 0: a free place
        self._count = 0

    def add(self, text: str) -> bool:
        """Remember a text; whether it is new."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
        key = int.from_bytes(digest, "little") or 1
        place = self._place(key)
        if self._table[place]:
            return False
        self._table[place] = key
        self._count += 1
        if 2 * self._count > len(self._table):
            self._grow()
        return True

    def _place(self, key: int) -> int:
        """Where a key stands, or the free place for it."""
        last = len(self._table) - 1
        place = key & last
        while self._table[place] not in (0, key):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        before = self._table
        self._table = array("Q", bytes(2 * _BYTES * len(before)))
        for key in before:
            if key:
                self._table[self._place(key)] = key

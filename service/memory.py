"""What the C library keeps of freed memory, on Linux with glibc; elsewhere nothing is done."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGE = 4 << 20  # bytes
# Of free memory at the end of a heap that stays with it. By itself glibc goes on giving back all above 128 KB once the
# other size is set: the pages of each photo would be taken from the system anew.
_KEPT = 32 << 20


def keep_large_blocks_apart() -> None:
    """Let blocks of several megabytes, such as bodies and pixels, go back to the system when they are freed.

    By itself glibc raises the size from which it does so up to 32 MB as soon as one of them is freed; from then on they
    leave holes in the heap, which never shrinks again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGE)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)


def return_freed_memory() -> None:
    """Let the system have the pages of what was freed: glibc keeps them for what may never come again."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

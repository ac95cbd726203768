"""One process at a time in a folder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import OutputError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file, in which stands who holds it.

    The operating system lets go of the lock when its process ends, however that is: a file that was left behind by
    a process that was killed locks nobody out, and a process that has got its number meanwhile is not taken for it.

    Raises:
        OutputError: another process holds it.
    """
    path = folder / NAME
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except OSError as exc:
            holder = os.read(handle, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(handle)
            raise OutputError(
                f"{folder}: {holder} is writing here. Wait until it has ended, or choose another folder."
            ) from exc
        if _still_there(handle, path):
            break
        os.close(handle)  # its last holder removed it between our two steps
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        if sys.platform != "win32":  # where an open file cannot be removed; an empty lock file does no harm
            os.unlink(path)
        os.close(handle)


def _still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

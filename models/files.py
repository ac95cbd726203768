"""Files on the disk: written whole or not at all, and known by their digests."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from models.errors import OutputError

TEMPORARY = ".tmp"  # how the name of a file ends while it is being written; it begins with a dot


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file so that it is there whole or not at all, also after the power has failed; folders are made.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                for chunk in [data] if isinstance(data, bytes) else data:
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(f"{path}: {disk_error(exc, path)}") from exc


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def disk_error(exc: OSError, target: Path) -> str:
    """Say in the user's terms why a file could not be written."""
    if exc.errno == errno.ENOSPC:
        free = shutil.disk_usage(target.parent).free
        return (
            f"the disk is full ({free / 1e6:.0f} MB free in {target.parent}). Free some space, or choose a folder on "
            "another disk (GRAFT_CACHE for downloads, which go on where they stopped), and run the command again."
        )
    return (
        f"cannot write {target} ({exc.strerror or exc}). Choose a folder of yours; for downloads and built models set "
        "GRAFT_CACHE."
    )


def _sync_folder(path: Path) -> None:
    # Windows opens no folders.
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

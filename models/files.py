"""Files on the disk: written whole or not at all, and known by their digests."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.errors import OutputError
from models.wording import size

_ADVICE = "Free some space, or choose another folder of yours, and run the command again."


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, advice: str = _ADVICE) -> None:
    """Write a file so that it is there whole or not at all, also after the power has failed; folders are made.

    `advice`: what a user should do where that fails.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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
        sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(f"{path}: {disk_error(exc, path, advice)}") from exc


def check_writable(path: Path) -> None:
    """See before the work that a file can be written after it; nothing is made.

    Raises:
        OutputError: a folder is called so, or the folders above it cannot be made or written to.
    """
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected the name of a file to write. Choose another name.")
    if not above.is_dir():
        raise OutputError(
            f"{path}: {above} is a file, and no folder can be made in it. Choose another place."
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written ({above} is not writable). {_ADVICE}")


def half_written(path: Path) -> list[Path]:
    """What processes left that were killed while they wrote `path`."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.????????"))


def sha256(*paths: Path) -> str:
    """SHA-256 of a file, or of several one behind the other, 64 hexadecimal digits."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, lambda: total)
    return total.hexdigest()


def disk_error(exc: OSError, target: Path, advice: str = _ADVICE) -> str:
    """Say in the user's terms why a file could not be written, and what to do."""
    if exc.errno == errno.ENOSPC:
        return f"the disk is full ({size(shutil.disk_usage(target.parent).free)} free). {advice}"
    return f"cannot be written ({exc.strerror or exc}). {advice}"


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    # Windows opens no folders.
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A table as a CSV file in UTF-8; what is no Unicode becomes a question mark."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode(errors="replace")

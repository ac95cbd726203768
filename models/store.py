"""Downloads: pinned by digest, resumed where they stopped, put in place in one step.

Written here because pooch, the usual library for this, begins anew after every interruption and cannot check a
digest of which only the beginning was published.
"""

from __future__ import annotations

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import platformdirs

from models.errors import ChecksumError, OfflineError, StoreError
from models.files import disk_error, sha256

DownloadProgress = Callable[[str, int, int | None], None]  # (file name, bytes so far, bytes in all if known)

CHUNK = 1 << 20
CACHE_ADVICE = (
    "Free some space, or set GRAFT_CACHE to a folder of yours on another disk, and run the command again: a download "
    "goes on where it stopped."
)
TIMEOUT = 30.0  # seconds without a byte
# Among all that is an OSError.
_NETWORK = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError)


def cache_folder() -> Path:
    """Where downloads and built models are kept: `GRAFT_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("GRAFT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("graft")


def fetch(
    url: str,
    digest: str,
    target: Path,
    *,
    allow_unpinned: bool = False,
    progress: DownloadProgress | None = None,
) -> Path:
    """Download `url` to `target` unless a right copy is there, and return `target`.

    `digest` is a SHA-256 or its beginning (at least 8 digits), or empty where none was ever published. Half a
    download is kept beside the target and taken up again; the target itself appears only when it is complete and
    has the right digest.

    Raises:
        StoreError: the digest is not known and `allow_unpinned` is False, or the disk is full.
        ChecksumError: what came is something else.
        OfflineError: the host cannot be reached.
    """
    if target.is_file() and (not digest or sha256(target).startswith(digest)):
        return target
    if not digest and not allow_unpinned:
        raise StoreError(
            f"{url}: no digest is known for this file, so nobody can tell whether it is the right one. "
            "Add --allow-unpinned to download it all the same; its digest is then printed."
        )
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, progress)
        if not part.exists() and target.is_file():  # another process was faster
            return fetch(url, digest, target, allow_unpinned=allow_unpinned, progress=progress)
        actual = sha256(part)
        if digest and not actual.startswith(digest):
            part.unlink()
            raise ChecksumError(
                f"{url}: the download has SHA-256 {actual}; expected {digest}"
                f"{'...' if len(digest) < 64 else ''}. It was thrown away; try again, and if it stays wrong, the "
                "file at the source has changed."
            )
        os.replace(part, target)
    except http.client.HTTPException as exc:
        raise OfflineError(
            f"{url}: what answers there does not speak HTTP rightly ({exc!r}). Check the network and its proxy."
        ) from exc
    except OSError as exc:
        raise _explain(exc, url, target) from exc
    return target


def _download(url: str, part: Path, progress: DownloadProgress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "graft"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as exc:
        if exc.code == 416 and have:  # nothing is left to send: the part is complete
            return
        raise
    with response:
        resumed = getattr(response, "status", 200) == 206
        length = response.headers.get("Content-Length")
        start = have if resumed else 0
        total = start + int(length) if length else None
        # Not appended but written at its place: two processes that download the same file write the same bytes.
        with part.open("r+b" if resumed else "wb") as stream:
            stream.seek(start)
            done = _copy(response, stream, start, total, part.name.removesuffix(".part"), progress)
    if total is not None and done < total:
        raise ConnectionError(f"the connection closed after {done:,} of {total:,} bytes")


def _copy(
    response: IO[bytes],
    stream: IO[bytes],
    done: int,
    total: int | None,
    name: str,
    progress: DownloadProgress | None,
) -> int:
    while chunk := response.read(CHUNK):
        stream.write(chunk)
        done += len(chunk)
        if progress:
            progress(name, done, total)
    return done


def _explain(exc: OSError, what: str, target: Path) -> StoreError:
    """Translate what the network or the disk said."""
    if isinstance(exc, urllib.error.HTTPError):
        return StoreError(f"{what}: the server answered {exc.code} {exc.reason}. Try again later.")
    if isinstance(exc, _NETWORK):
        return _offline(exc, what)
    return StoreError(f"{what}: {target}: {disk_error(exc, target, CACHE_ADVICE)}")


def _offline(exc: OSError, what: str) -> OfflineError:
    return OfflineError(
        f"{what}: cannot be reached ({getattr(exc, 'reason', exc)}). Check the network and run the command again: "
        "it goes on where it stopped. Offline, use the built-in model or a file: --model path/to/model.onnx."
    )

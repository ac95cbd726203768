"""What speaks to a store, and what is wrong in the words of a file system."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

from feature_extraction.stores.web import WebFiles
from models.errors import LibraryError
from models.extras import how_to_install
from models.wording import first_line

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
_CONNECTIONS = 32  # more than there are readers
# By scheme: the package that speaks to it, the class, and its options.
_PACKAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "s3": ("s3fs", "s3fs:S3FileSystem", {"config_kwargs": {"max_pool_connections": _CONNECTIONS}}),
    "gs": ("gcsfs", "feature_extraction.stores.google:GoogleFiles", {}),
    "hf": ("huggingface_hub", "feature_extraction.stores.hub:HubFiles", {}),
}
WEB = ("https", "http")
# How packages call it that they have no credentials, or none that are complete.
_NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "DefaultCredentialsError", "RefreshError", "LocalTokenNotFoundError",
)  # fmt: skip
_IN_WORDS = (errno.EPROTONOSUPPORT, errno.ENOTSUP, errno.ESTALE)  # in our own words
# S3's words for a file that another process is creating at this moment.
_IN_CONFLICT = ("ConditionalRequestConflict", "OperationAborted")
_CREDENTIALS = {
    "s3": "as the AWS tools take them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE); "
    "FSSPEC_S3_ANON=true for a public bucket",
    "gs": "as the Google tools take them (GOOGLE_APPLICATION_CREDENTIALS); FSSPEC_GS_TOKEN=anon for a public bucket",
    "hf": "in HF_TOKEN",
    "https": "in ~/.netrc",
}


class Opened(Protocol):
    """A file that is read by ranges."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """The place."""

    def read(self, size: int = ..., /) -> bytes:
        """So many bytes, fewer only at the end."""


class Files(Protocol):
    """The files of a store by their addresses, as fsspec calls what is done with them."""

    def info(self, path: str) -> dict[str, Any]:
        """`name`, `size`, `type` ("file" or "directory") and what else the store tells."""

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        """What `info` gives of all files below, by name."""

    def glob(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        """What `info` gives of all that a pattern means, by name."""

    def cat_file(self, path: str, *, start: int, end: int) -> bytes:
        """The bytes from `start` to that before `end`, fewer where the file ends before."""

    def open(self, path: str, mode: str, *, block_size: int, cache_type: str) -> Opened:
        """A file to be read by ranges; what is read is one version of it, or an error."""

    def pipe_file(self, path: str, value: bytes, *, mode: str) -> Any:
        """Write a file whole: `mode` "overwrite", or "create", which raises `FileExistsError` where one is there."""

    def rm_file(self, path: str) -> None:
        """Remove a file."""


def is_address(spec: str) -> bool:
    """Whether this is an address, such as `https://host/photo.jpg` or `s3://bucket`, and no path: by its scheme."""
    return bool(_ADDRESS.match(spec))


def scheme_of(url: str) -> str:
    """The scheme of an address, in lower case."""
    match = _ADDRESS.match(url)
    return match[1].lower() if match else ""


def files_of(url: str) -> Files:
    """What speaks to the store of an address.

    Raises:
        OSError: no store that is known.
        LibraryError: its package is not installed.
    """
    return _opened(scheme_of(url), os.getpid())


@lru_cache
def _opened(scheme: str, process: int) -> Files:
    """One a process: connections do not outlive a fork."""
    if scheme in WEB:
        return WebFiles()
    if scheme not in _PACKAGES:
        schemes = ", ".join([*_PACKAGES, *WEB])
        raise OSError(
            errno.EPROTONOSUPPORT, f"{scheme}:// is no store that is known; expected one of {schemes}"
        )
    package, place, options = _PACKAGES[scheme]
    # Else gcsfs asks another service of Google's first, over gRPC, and a minute long where that is closed.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    module, _, name = place.partition(":")
    try:
        kind = getattr(import_module(module), name)
        files: Files = kind(skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as exc:
        raise LibraryError(
            f"{scheme}:// needs {package}, which is not installed. Install it with {how_to_install('stores')}."
        ) from exc
    return files


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise what a store's package raises as `OSError`, whose `strerror` says what is wrong and what to do."""
    try:
        yield
    except LibraryError:
        raise
    except FileExistsError:
        raise
    except Exception as exc:
        if isinstance(exc, FileNotFoundError) or 404 in _statuses(exc):
            raise FileNotFoundError(errno.ENOENT, "there is no such object, or no such bucket") from exc
        names = {kind.__name__ for one in _causes(exc) for kind in type(one).__mro__}
        if names.intersection(_NO_CREDENTIALS):
            how = _CREDENTIALS.get(scheme_of(url), "")
            raise PermissionError(errno.EACCES, f"no credentials for it were given; give them {how}") from exc
        refusing = str(exc).startswith("Forbidden")  # gcsfs
        if isinstance(exc, PermissionError) or refusing or _statuses(exc) & {401, 403}:
            reason = f"the store refuses it: {first_line(exc)}; see what your credentials allow"
            raise PermissionError(errno.EACCES, reason) from exc
        if any(_code(one) in _IN_CONFLICT for one in _causes(exc)):
            raise OSError(errno.EAGAIN, "another process writes it at the same time") from exc
        if "FileExpired" in names:
            raise OSError(errno.ESTALE, "it was changed meanwhile") from exc
        if isinstance(exc, OSError) and exc.errno in _IN_WORDS:
            raise
        raise OSError(errno.EIO, f"the store failed: {first_line(exc) or type(exc).__name__}") from exc


def _code(exc: BaseException) -> str:
    """What S3 calls an error, as botocore keeps it; "" for others."""
    response = getattr(exc, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _statuses(exc: BaseException) -> set[object]:
    """The statuses of answers over HTTP that errors of Google's and Hugging Face's packages tell of."""
    return {
        getattr(getattr(one, "response", None), "status_code", getattr(one, "code", None))
        for one in _causes(exc)
    }


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__cause__

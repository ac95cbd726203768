"""The files below an address, in the order of their keys: S3's own, a page at a time, so that memory does not grow."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from feature_extraction.stores.objects import StoredFile
from feature_extraction.stores.opening import files_of, scheme_of, translated

_PAGE = 1000  # keys that S3 is asked for at a time, as many as it gives
_Info = dict[str, Any]


def is_folder(url: str) -> bool:
    """Whether an address is that of a folder: something lies below it.

    Raises:
        OSError: nothing is there, or the store refuses.
    """
    with translated(url):
        return bool(files_of(url).info(url)["type"] == "directory")


def files_below(url: str, behind: str = "") -> Iterator[tuple[tuple[str, ...], StoredFile]]:
    """The files below a folder, each with the parts of its path there.

    `behind`: the key in the folder after which they begin; "" for all of them.

    Raises:
        OSError: the store refuses, or there is no such bucket.
    """
    root = url.rstrip("/") + "/"
    entries = _pages_of_s3(root, behind) if scheme_of(url) == "s3" else _all_below(root, behind)
    for address, info in entries:
        key = address.removeprefix(root)
        if key and not key.endswith("/"):  # as some programs mark folders
            yield tuple(part for part in key.split("/") if part), StoredFile.listed(address, info)


def matching(url: str) -> Iterator[tuple[str, StoredFile | None]]:
    """What a pattern means, in the order of the names: address and file, None for a folder.

    Raises:
        OSError: the store refuses.
    """
    with translated(url):
        matches = files_of(url).glob(url, detail=True)
    for name, info in sorted(matches.items()):
        address = f"{scheme_of(url)}://{name}"
        yield address, StoredFile.listed(address, info) if info["type"] == "file" else None


def beside(file: StoredFile, path: str) -> str | None:
    """The address of what a file names by a relative path; None for a path that leads out of its store."""
    if path.startswith("/"):
        return None
    scheme, _, place = file.url.partition("://")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    bucket = place.partition("/")[0]
    return f"{scheme}://{joined}" if joined.startswith(f"{bucket}/") else None


def _pages_of_s3(root: str, behind: str) -> Iterator[tuple[str, _Info]]:
    bucket, _, prefix = root.partition("://")[2].partition("/")
    files: Any = files_of(root)
    options = {"StartAfter": prefix + behind} if behind else {}
    while True:
        with translated(root):
            page = files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE, **options)
        for entry in page.get("Contents", ()):
            yield f"s3://{bucket}/{entry['Key']}", {"size": entry["Size"], "ETag": entry["ETag"]}
        if not page.get("IsTruncated"):
            return
        options = {"ContinuationToken": page["NextContinuationToken"]}


def _all_below(root: str, behind: str) -> Iterator[tuple[str, _Info]]:
    with translated(root):
        infos = files_of(root).find(root, detail=True)
    for name, info in sorted(infos.items()):
        address = f"{scheme_of(root)}://{name}"
        if info["type"] == "file" and address > root + behind:
            yield address, info

"""Repositories of the Hugging Face Hub: a file is read as one commit has it, and created by a commit.

A commit that is to follow another one is refused where that is no longer the last: so a file is created only where none
is there. Files in the Hub's buckets (`hf://buckets/...`) are only read: it creates those over others.
"""

from __future__ import annotations

import errno
import time
from typing import Any

from huggingface_hub import CommitOperationAdd, HfFileSystem
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

_TRIES = 20  # of a commit, while others commit
_PAUSE_S = 0.25
_SECONDS = 60.0  # that an answer may take
_OVERTAKEN = (409, 412)  # the statuses that say so


class HubFiles(HfFileSystem):  # type: ignore[misc]  # fsspec has no types
    """See `feature_extraction.stores.opening.Files`."""

    def info(self, path: str, revision: str | None = None, **options: Any) -> Any:
        """What is there now; of a file what tells its versions apart, too."""
        place = self.resolve_path(path, revision=revision)
        if not getattr(place, "path_in_repo", ""):
            return super().info(path, refresh=True, **options)
        entries = self._api.get_paths_info(
            place.repo_id, [place.path_in_repo], repo_type=place.repo_type, revision=place.revision
        )
        if not entries:
            raise FileNotFoundError(path)
        facts = {"name": place.unresolve(), "size": getattr(entries[0], "size", 0)}
        content = getattr(entries[0], "blob_id", None)
        return {**facts, "type": "directory" if content is None else "file", "blob_id": content}

    def find(self, path: str, **options: Any) -> Any:
        """What is there now."""
        self.invalidate_cache()
        return super().find(path, **{"refresh": True, **options})

    def cat_file(self, path: str, *, start: int, end: int, **_: Any) -> bytes:
        """The bytes from `start` to that before `end`, by one request."""
        headers = {**build_hf_headers(token=self.token), "Range": f"bytes={start}-{end - 1}"}
        response = http_backoff("GET", self.url(path), headers=headers, timeout=_SECONDS)
        hf_raise_for_status(response)
        data: bytes = response.content
        return data

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A file to be read by ranges, as it is in the last commit."""
        place = self.resolve_path(path)
        if not hasattr(place, "repo_id") or mode != "rb":
            return super().open(path, mode, **options)
        return super().open(path, mode, revision=self._last_commit(place), **options)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Commit a file; "create" fails where one is there."""
        place = self.resolve_path(path)
        if not hasattr(place, "repo_id"):
            raise OSError(
                errno.ENOTSUP, "it cannot create files without writing over others; name a repository"
            )
        for rest in reversed(range(_TRIES)):
            last = self._last_commit(place)
            options = {"repo_id": place.repo_id, "repo_type": place.repo_type}
            if mode == "create" and self._api.file_exists(
                filename=place.path_in_repo, revision=last, **options
            ):
                raise FileExistsError(path)
            try:
                self._api.create_commit(
                    operations=[CommitOperationAdd(place.path_in_repo, value)],
                    commit_message=f"Write {place.path_in_repo}",
                    revision=place.revision,
                    parent_commit=last,
                    **options,
                )
                return
            except HfHubHTTPError as exc:
                if exc.response.status_code not in _OVERTAKEN or not rest:
                    raise
            time.sleep(_PAUSE_S)

    def rm_file(self, path: str) -> None:
        """Remove a file, by a commit."""
        try:
            self._rm(path)
        except EntryNotFoundError as exc:
            raise FileNotFoundError(path) from exc

    def _last_commit(self, place: Any) -> str:
        info = self._api.repo_info(place.repo_id, repo_type=place.repo_type, revision=place.revision)
        return str(info.sha)

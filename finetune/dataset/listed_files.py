"""What a list's paths lead to: files beside it, in another folder, in archives and idx files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem, Tally, failing_item, file_item, printable
from feature_extraction.lists import slashed
from feature_extraction.sources import entries
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from finetune.dataset import idx
from finetune.dataset.labelling_tools import is_upload, names_at
from models.errors import ImageError, SourceError
from models.image_kinds import kind_of_name

_ARCHIVE = re.compile(
    r"(.*?\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tbz2|tar\.xz|txz))[/\\](.*)", re.IGNORECASE | re.DOTALL
)


class Locator:
    """Finds what a list's paths lead to, from a folder on."""

    def __init__(
        self, folder: Path, *, outside: bool, by_name: bool = False, web: WebImages | None = None
    ) -> None:
        """`outside` lets paths leave the folder; `by_name` finds a path of another machine by its last part alone.

        What no file here is called after is fetched from its address as `web` allows.
        """
        self._folder = os.path.abspath(folder)
        self._web = web or WebImages()
        self._outside, self._by_name = outside, by_name
        self._idx: dict[Path, NDArray[np.uint8]] = {}
        self._archives: dict[str, dict[str, ImageItem]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}
        self._names: dict[str, tuple[str, bool]] = {}  # of a file, and whether by the last part alone
        self.without_ending = self.by_last_part = 0  # images that were found so

    def has(self, file: str) -> bool:
        """Whether a path leads to something, by whatever way."""
        if _is_elsewhere(file):
            return bool(self._web.hosts and is_address(file)) or self._named_after(file) is not None
        path = self._path(file)
        return os.path.lexists(path) or self._indirect(path) is not None or bool(self._wholes(path))

    def item(self, file: str, where: str) -> ImageItem:
        """The image at a path, at the file that only its ending is missing of, or at an address.

        Raises:
            SourceError: the path leads out of the folder, to several files, or by its last part alone to the file of
                another path.
        """
        if _is_elsewhere(file):
            return self._from_elsewhere(file, where)
        path, by_last = self._path(file), False
        if self._by_name and not os.path.lexists(path):
            last = self._path(os.path.basename(slashed(file)))
            if last != path and (os.path.lexists(last) or self._wholes(last)):
                path, by_last = last, True
        if not self._outside and not path.startswith(self._folder.rstrip(os.sep) + os.sep):
            raise SourceError(
                f"{where}: {printable(file)} lies outside the list's folder, {self._folder}. A list from elsewhere "
                "could name any file of yours; if this one is your own, allow it with --outside (outside=True)."
            )
        if os.path.lexists(path):
            return self._file(path, file, where, by_last)
        if item := self._indirect(path):
            return item
        if whole := self._whole(path, where):
            self.without_ending += 1
            return self._file(whole, file, where, by_last)
        return file_item(path, printable(path))

    def _file(self, path: str, file: str, where: str, by_last: bool) -> ImageItem:
        """The image of a file, which a name that was cut to its last part shares with no other name."""
        self.by_last_part += by_last
        other, other_by_last = self._names.setdefault(path, (file, by_last))
        if other != file and (by_last or other_by_last):
            raise SourceError(
                f"{where}: going by the last part of their names, {printable(file)} and {printable(other)} are one "
                f"file, {printable(path)}. Put the images into folders as the list names them, or give each a name "
                "of its own."
            )
        return file_item(path, printable(path))

    def _path(self, file: str) -> str:
        """Where a path leads from the folder; one with backslashes where nothing is called so."""
        # Without normpath, `link/../x` would lead elsewhere than it says, once more past the check.
        path = os.path.normpath(os.path.join(self._folder, file))
        if "\\" in file and not os.path.lexists(path):
            return os.path.normpath(os.path.join(self._folder, slashed(file)))
        return path

    def _from_elsewhere(self, file: str, where: str) -> ImageItem:
        """The image that only an address names: a file here that is called so, or what is fetched from there."""
        if (path := self._named_after(file)) is not None:
            path = path if os.path.lexists(path) else self._whole(path, where) or path
            return self._file(path, file, where, True)
        if self._web.hosts and is_address(file):
            return self._web.item(file)
        name = next(names_at(file), file)
        fetch = ", or let it be fetched with --allow-urls HOST" if file.startswith("http") else ""
        return failing_item(
            printable(file),
            ImageError(
                f"{printable(file)}: not a path of this machine, and nothing here is called {printable(name)}. Say "
                f"where the images lie with --images FOLDER{fetch}."
            ),
        )

    def _named_after(self, file: str) -> str | None:
        """The path of a file here, perhaps without its ending, that is called as what lies at an address."""
        paths = [self._path(name) for name in names_at(file)]
        return next((path for path in paths if os.path.lexists(path) or self._wholes(path)), None)

    def _indirect(self, path: str) -> ImageItem | None:
        return self._inside(path) or idx.image_at(path, self._idx)

    def _whole(self, path: str, where: str) -> str | None:
        """The file that a path without its ending means.

        Raises:
            SourceError: there are several.
        """
        names = self._wholes(path)
        if len(names) > 1:
            raise SourceError(
                f"{where}: {os.path.basename(path)} may be {' or '.join(names)}. Write the ending."
            )
        return os.path.join(os.path.dirname(path), names[0]) if names else None

    def _wholes(self, path: str) -> list[str]:
        """The files that a path without its ending may mean."""
        folder, name = os.path.split(path)
        if folder not in self._stems:
            stems: dict[str, list[str]] = defaultdict(list)
            try:
                for entry in os.listdir(folder):
                    if kind_of_name(entry):
                        stems[os.path.splitext(entry)[0]].append(entry)
            except OSError:  # said where the image is read
                pass
            self._stems[folder] = dict(stems)
        return sorted(self._stems[folder].get(name, ()))

    def _inside(self, path: str) -> ImageItem | None:
        """The image in an archive on the way of the path."""
        match = _ARCHIVE.fullmatch(path)
        if not match:
            return None
        file, member = match.groups()
        if file not in self._archives:
            if not os.path.isfile(file):
                return None
            self._archives[file] = {"/".join(parts): item for parts, item in entries(Path(file), Tally(), [])}
        return self._archives[file].get(member.replace(os.sep, "/"))


def _is_elsewhere(file: str) -> bool:
    """Whether what names an image is no path of a folder here."""
    return is_address(file) or is_upload(file)

"""Folders from which a running service may be told to load: what is in them, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import InputError
from service.sources import FILE, Source, in_folder


def file_in(repository: Sequence[str], path: str) -> Path:
    """The model file that a client names, below one of the folders, wherever links lead.

    Raises:
        InputError: there is none. Whether one lies outside is not told.
    """
    if not repository:
        raise InputError("no folder may be loaded from. Start the service with --repository FOLDER.")
    for folder in repository:
        root = Path(folder).resolve()
        try:
            file = (root / path).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
            continue
        if file.is_relative_to(root) and file.suffix == ".onnx" and file.is_file():
            return file
    raise InputError(
        f"{path[:200]!r} is no .onnx file in the repository; expected its path there, such as cats/3/{FILE}."
    )


def name_and_version(file: Path) -> tuple[str, int | None]:
    """What a file in a repository is called, and its version where the path says one."""
    if file.name != FILE:
        return file.stem, None
    folder = file.parent
    if folder.name.isdecimal():
        return folder.parent.name, int(folder.name)
    return folder.name, None


def sources_in(repository: Sequence[str]) -> Iterator[Source]:
    """What the folders hold at this moment, in the order of their names; one that cannot be read holds nothing.

    Whatever links lead out of a folder is passed over, as in `file_in`.
    """
    for folder in repository:
        root = Path(folder).resolve()
        try:
            held = list(in_folder(root))
        except OSError:
            continue
        for source in held:
            if Path(source.spec).resolve().is_relative_to(root):
                yield dataclasses.replace(source, origin="administrator")

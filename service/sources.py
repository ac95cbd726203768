"""Where models to serve come from: names of the zoo, files, and folders that hold several of them.

birds.onnx                 model birds, version 1
my_photos-model/           a fine-tuning run: model my_photos-model, version 1 (its model.onnx), and what lies beside it
repository/
    birds.onnx             model birds, version 1
    my_photos-model/       a fine-tuning run
    cats/                  (so it is where this folder itself is named)
        1/model.onnx       model cats, versions 1 and 2
        2/model.onnx
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.errors import InputError
from models.wording import listed
from models.zoo import find

_LABEL = re.compile(r"(?P<label>[^=:]+)=(?P<name>[^:]+):(?P<version>[0-9]{1,18})")
# What file systems keep in the root of a volume, closed to all but root. Hidden names are passed over as well:
# `..data`, where Kubernetes keeps what a mounted ConfigMap or Secret holds, has each file a second time.
_LOST = "lost+found"
FILE = "model.onnx"  # what a fine-tuning run calls its model, and repositories of other servers theirs


@dataclass(frozen=True)
class Source:
    """A model to serve: its name, its version, and where it is (a path, or a name of the zoo).

    `origin`: who says so: it was named, it lies in a folder that was, an administrator has loaded it, or it was taught
    here and promoted.
    """

    name: str
    version: int
    spec: str
    origin: Literal["named", "folder", "administrator", "workspace"] = field(default="named", compare=False)


@dataclass(frozen=True)
class Label:
    """A word that stands for a version of a model."""

    label: str
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.label}={self.name}:{self.version}"


def sources(models: Iterable[str]) -> list[Source]:
    """What each entry stands for: `name=path`, a name of the zoo, a file, or a folder.

    Raises:
        InputError: a folder holds no model, two models would have the same name and version, or a name is none that
            addresses can spell.
    """
    by_key: dict[tuple[str, int], Source] = {}
    for entry in models:
        for source in _of_entry(entry):
            if not source.name or "/" in source.name:
                raise InputError(f"{entry}: {source.name!r} is no name that an address can spell. Give another one: "
                                 f"NAME={source.spec}")  # fmt: skip
            if ":" in source.name:
                raise InputError(f"{source.spec}: {source.name!r} has a colon, which addresses of other servers use "
                                 f"behind a name. Give another one: NAME={source.spec}")  # fmt: skip
            other = by_key.setdefault((source.name, source.version), source)
            if other is not source:
                raise InputError(
                    f"{other.spec} and {source.spec} are both called {source.name!r}; give one another name: "
                    f"{source.name}2={source.spec}"
                )
    return list(by_key.values())


def labels(entries: Iterable[str]) -> list[Label]:
    """What each `LABEL=NAME:VERSION` stands for.

    Raises:
        InputError: one has another form, is a number, or two are about the same label of a model.
    """
    by_key: dict[tuple[str, str], Label] = {}
    for entry in entries:
        match = _LABEL.fullmatch(entry)
        if match is None:
            raise InputError(
                f"the label is {entry[:80]!r}; expected LABEL=NAME:VERSION, such as stable=cats:2."
            )
        if match["label"].isdecimal():
            raise InputError(
                f"{entry[:80]!r}: the label is a number; expected a word such as stable or canary."
            )
        label = Label(match["label"], match["name"], int(match["version"]))
        other = by_key.setdefault((label.name, label.label), label)
        if other is not label:
            raise InputError(f"{other} and {label} are about the same label. Give one of them.")
    return list(by_key.values())


def folders(models: Iterable[str]) -> list[Path]:
    """The folders among the models, which may hold others tomorrow."""
    return [Path(entry) for entry in models if find(entry) is None and Path(entry).is_dir()]


def same_place(spec: str, other: str) -> bool:
    """Whether two sources are one file, whichever way leads to it, or one name of the zoo."""
    return spec == other or Path(spec).resolve() == Path(other).resolve()


def in_folder(folder: Path) -> Iterator[Source]:
    """The models that a folder holds, by name and version; its own `model.onnx` and its numbers are called like it."""
    name = folder.resolve().name
    if (folder / FILE).is_file():
        yield Source(name, 1, str(folder / FILE))
    yield from _versions(folder, name)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == _LOST:
            continue
        if path.suffix == ".onnx" and path.is_file():
            if path.name != FILE:
                yield Source(path.stem, 1, str(path), origin="folder")
        elif path.is_dir():
            if (path / FILE).is_file() and not path.name.isdecimal():
                yield Source(path.name, 1, str(path / FILE), origin="folder")
            yield from _versions(path, path.name)


def _versions(folder: Path, name: str) -> Iterator[Source]:
    numbered = [path for path in folder.iterdir() if path.name.isdecimal() and (path / FILE).is_file()]
    for path in sorted(numbered, key=lambda path: int(path.name)):
        yield Source(name, int(path.name), str(path / FILE), origin="folder")


def _of_entry(entry: str) -> Iterable[Source]:
    before, equals, after = entry.partition("=")
    # The empty path is this folder: a variable of a shell that is not set would serve what lies there.
    if not entry or (equals and not after):
        raise InputError(f"{entry!r} names no model; expected NAME=FILE, or a name, a file or a folder.")
    if equals and not Path(entry).exists():
        return _named_folder(before, Path(after)) if Path(after).is_dir() else [Source(before, 1, after)]
    row = find(entry)
    if row is not None:
        return [Source(row.name, 1, entry)]
    path = Path(entry)
    if path.is_dir():
        return _held(path)
    # Every fine-tuning run calls its file the same: the folder tells them apart.
    name = path.resolve().parent.name if path.name == FILE else path.stem
    return [Source(name, 1, entry)]


def _held(folder: Path) -> list[Source]:
    """The models of a folder, at least one."""
    try:
        held = list(in_folder(folder))
    except OSError as exc:
        raise InputError(f"{folder}: a folder that cannot be read ({exc}). Check its permissions.") from exc
    if not held:
        raise InputError(
            f"{folder}: a folder without models; expected files NAME.onnx, folders NAME/{FILE}, or "
            f"NAME/VERSION/{FILE}."
        )
    return held


def _named_folder(name: str, folder: Path) -> list[Source]:
    """The one model of a folder under a name: platforms put a model into a folder, whatever its file is called."""
    if (folder / FILE).is_file() and not any(_versions(folder, name)):
        return [Source(name, 1, str(folder / FILE))]
    held = _held(folder)
    names = sorted({source.name for source in held})
    if len(names) > 1:
        raise InputError(
            f"{name}={folder}: the folder holds {len(names)} models ({listed(names)}), and one can have the name. Name "
            f"its file: {name}={held[0].spec}"
        )
    return [Source(name, source.version, source.spec) for source in held]

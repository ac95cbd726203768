"""Folders of photos that tests are made of."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.fixtures import COLOURS, encoded, photo, plain


def jpeg(seed: int, size: tuple[int, int] = (160, 120), quality: int = 90) -> bytes:
    """A photo as a JPEG file."""
    return encoded(photo(size, seed), "JPEG", quality=quality)


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder, and return it."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def classes(root: Path, **counts: int) -> Path:
    """A folder for each class with so many different photos."""
    seed = 0
    for name, count in counts.items():
        for i in range(count):
            seed += 1
            write(root, {f"{name}/{i}.jpg": jpeg(seed)})
    return root


def opened(data: bytes) -> Image.Image:
    """A decoded image."""
    import io

    return Image.open(io.BytesIO(data))


Source = tuple[Path, str | None]  # where it lies, and a split of it
_FLAT = {f"{name}/{i}.png": plain(name, (20 + i, 20)) for name in COLOURS for i in range(2)}
_SPLIT = {f"{split}/{name}": data for split in ("train", "val") for name, data in _FLAT.items()}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    """A zip archive of files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    """A tar archive of files, packed as its name says."""
    packing = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, packing) as archive:  # type: ignore[call-overload]
        for name, data in reversed(files.items()):  # in an order that is not that of the names
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    """A list in the format that its suffix says."""
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return path
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(stream.getvalue())
    return path


def mnist(folder: Path, stem: str, count: int, labels: int | None = None) -> Path:
    """A pair of idx files with digits of three classes; `labels`: another number of them."""
    pixels = bytes(i % 256 for i in range(count * 784))
    head = struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28)
    (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels))
    known = count if labels is None else labels
    head = struct.pack(">4BI", 0, 0, 8, 1, known)
    (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(head + bytes(i % 3 for i in range(known)))
    )
    return folder


def _listed(name: str, column: str, split: str | None, inside: str = "") -> Callable[[Path], Source]:
    def make(root: Path) -> Source:
        if inside:
            (zipped if inside.endswith(".zip") else tarred)(root / inside, _SPLIT)
        else:
            write(root, _SPLIT)
        rows = []
        for i, file in enumerate(_SPLIT):
            part, label, _ = file.split("/")
            value = label if column == "label" else str(i)
            row = {"path": f"{inside}/{file}".lstrip("/"), column: value}
            rows.append(row if split is None else row | {"split": part})
        return table(root / name, rows), split

    return make


def _digits(*stems: str) -> Callable[[Path], Source]:
    def make(root: Path) -> Source:
        for stem in stems:
            mnist(root, stem, 6)
        (root / "labels.txt").write_text("\n".join(COLOURS))
        return root, "test" if len(stems) > 1 else None

    return make


SOURCES: dict[str, Callable[[Path], Source]] = {
    "folder": lambda root: (write(root, _FLAT), None),
    "folder in a folder": lambda root: (write(root / "all", _FLAT).parent, None),
    "splits": lambda root: (write(root, _SPLIT), "val"),
    "splits in a folder": lambda root: (write(root / "all", _SPLIT).parent, "val"),
    "splits by other words": lambda root: (
        write(root, {name.replace("val/", "Validation/"): data for name, data in _SPLIT.items()}),
        "val",
    ),
    "zip": lambda root: (zipped(root / "a.zip", _FLAT), None),
    "zip of a folder": lambda root: (
        zipped(root / "a.zip", {f"all/{name}": data for name, data in _FLAT.items()}),
        None,
    ),
    "zip of splits": lambda root: (zipped(root / "a.zip", _SPLIT), "val"),
    "tar": lambda root: (tarred(root / "a.tar", _FLAT), None),
    "packed tar of a folder": lambda root: (
        tarred(root / "a.tgz", {f"./all/{name}": data for name, data in _FLAT.items()}),
        None,
    ),
    "packed tar of splits": lambda root: (tarred(root / "a.tar.xz", _SPLIT), "val"),
    "csv": _listed("l.csv", "label", None),
    "tsv": _listed("l.tsv", "label", None),
    "jsonl": _listed("l.jsonl", "label", None),
    "csv with splits": _listed("l.csv", "label", "val"),
    "list into a zip": _listed("l.csv", "label", "val", inside="a.zip"),
    "list into a packed tar": _listed("l.csv", "label", "val", inside="a.tar.gz"),
    "idx": _digits("t10k"),
    "idx with splits": _digits("train", "t10k"),
}
NUMBERED: dict[str, Callable[[Path], Source]] = {
    "csv": _listed("l.csv", "target", None),
    "tsv": _listed("l.tsv", "target", None),
    "jsonl": _listed("l.jsonl", "target", None),
    "csv with splits": _listed("l.csv", "target", "val"),
    "list into a zip": _listed("l.csv", "target", "val", inside="a.zip"),
}

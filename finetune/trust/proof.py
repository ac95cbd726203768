"""The proof that a finished file gives the probabilities that training ended with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

import models
from feature_extraction.items import Content
from models.errors import InputError, ModelError
from models.replaying import ERROR, OUTPUTS, PIXELS, REQUEST
from models.runtime import Array

IMAGES = 32
TOLERANCE = 1e-4
_LIMIT_S = 600.0  # seconds, for loading the model and running some dozens of images
# What an interpreter and its shared libraries need. Nothing of Graft's, nothing of Python's.
_KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMPDIR",
    "CUDA_VISIBLE_DEVICES",
)
# It waits for a line, and ends without one: then nothing is to be proven.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from models.replaying import main; "
    "sys.stdin.readline() and main(sys.argv[2])"
)


@dataclass(frozen=True)
class Proof:
    """What another process answered, compared with what training had."""

    images: int
    difference: float  # the largest, see `prove`
    differences: Mapping[str, float]  # the largest of each output
    tolerance: float


class FreshProcess:
    """A process that starts from nothing but what runs a model, and waits for one; it may start ahead of the file.

    It is isolated from Python's environment, and imports `models` alone.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graft-proof-")
        self.folder = Path(self._folder.name)
        root = Path(models.__file__).resolve().parent.parent
        self._process, self._refused = None, ""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, str(root), str(self.folder)],
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as exc:
            self._refused = str(exc)

    def run(self) -> str:
        """Let it do what is requested in `folder`; the reason why it did not, or ""."""
        if self._process is None:
            return self._refused
        try:
            _, complaint = self._process.communicate("go\n", timeout=_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as exc:
            return str(exc)
        code = self._process.returncode
        return f"status {code}: {complaint.strip()[-300:]}" if code else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does, and remove its folder."""
        if self._process is not None:
            with self._process:
                self._process.kill()
        self._folder.cleanup()


def prove(
    path: Path,
    images: Sequence[tuple[str, Content | Path]],
    expected: Mapping[str, Array],
    tolerance: float = TOLERANCE,
    device: str = "auto",
    rounding: Mapping[str, float] | None = None,
    fresh: FreshProcess | None = None,
) -> Proof:
    """Load a finished model in a fresh process, run images through it, and compare its answers with `expected`.

    `images`: a name and the encoded bytes, the path or the decoded pixels of each. `expected`: name of an output ->
    its N rows, as training had them. A difference is |answer - expected|, divided by the largest expected magnitude
    where that is above 1 (scores and values have scales of their own). `rounding`: by how much some outputs change when
    float32 rounds otherwise, as another number of threads makes it; where that is more, it is the scale of `tolerance`.
    The process knows the file and the images alone, and never sees what is expected; `fresh` is one that waits already.

    Raises:
        ModelError: an answer differs by more than `tolerance`, or there is none. The file then has another name, which
            the message tells.
        InputError: there is nothing to compare.
    """
    if not images or not expected or any(len(rows) != len(images) for rows in expected.values()):
        rows = ", ".join(f"{name} {list(values.shape)}" for name, values in expected.items())
        raise InputError(
            f"{len(images)} images and expected {rows or 'nothing'}; expected a row for each image."
        )
    with fresh or FreshProcess() as process:
        answers = _ask(path, images, list(expected), process, device)
    least = {name: change / tolerance for name, change in (rounding or {}).items()}
    differences = {
        name: _difference(answers[name], rows, least.get(name, 1.0)) for name, rows in expected.items()
    }
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > tolerance:
        raise ModelError(
            f"{path}: loaded in a fresh process it gives {worst} that differ from those of the training by "
            f"{differences[worst]:.3g}; expected at most {tolerance:g} on {len(images)} images. {put_aside(path)} Run "
            "the command again; if it fails again, report it."
        )
    return Proof(len(images), differences[worst], differences, tolerance)


def _ask(
    path: Path,
    images: Sequence[tuple[str, Content | Path]],
    outputs: list[str],
    process: FreshProcess,
    device: str,
) -> dict[str, Array]:
    """What a fresh process answers."""
    folder = process.folder
    files = [(name, str(_laid(content, folder, number))) for number, (name, content) in enumerate(images)]
    request = {"model": str(path.resolve()), "device": device, "images": files, "outputs": outputs}
    (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
    if reason := process.run():
        complaint = folder / ERROR
        reason = complaint.read_text(encoding="utf-8") if complaint.is_file() else reason
        raise ModelError(f"{path}: a fresh process cannot use it ({reason}). {put_aside(path)}")
    with np.load(folder / OUTPUTS, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in outputs}


def _laid(content: Content | Path, folder: Path, number: int) -> Path:
    """The file from which the other process reads an image."""
    if isinstance(content, Path):
        return content.resolve()
    path = folder / f"{number:04}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Image.Image):
        content.save(path, "TIFF")  # takes all modes, and keeps the orientation
    else:
        path = path.with_suffix(PIXELS)
        np.save(path, content, allow_pickle=False)
    return path


def _difference(answers: Array, expected: Array, least: float) -> float:
    """The largest, in parts of the largest magnitude, of `least` or of 1."""
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        return float("inf")
    scale = max(1.0, least, float(np.abs(expected).max()))
    return float(np.abs(answers.astype(np.float64) - expected).max()) / scale


def put_aside(path: Path) -> str:
    """Give a file that is not to be used another name, and say so."""
    if not path.is_file():
        return "There is no such file."
    aside = path.with_name(f"{path.stem}.refused{path.suffix}")
    os.replace(path, aside)
    return f"It was kept as {aside}, out of the way."

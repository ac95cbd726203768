"""A process that loads a model file, runs images through it, and writes down its outputs.

It knows nothing but the file: no expected outputs, nothing of how the model was made. The folder that it is given
holds `request.json` ({"model", "device", "images": [[name, file], ...], "outputs": [name, ...]}); it writes
`outputs.npz` with an array of N rows for each output, or `error.txt`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.errors import GraftError
from models.model import Model
from models.preprocessing import ImageSource
from models.runtime import RuntimeConfig

REQUEST, OUTPUTS, ERROR = "request.json", "outputs.npz", "error.txt"
PIXELS = ".npy"  # the suffix of images that are decoded already


def replay(folder: Path) -> None:
    """Do what the request in `folder` says.

    Raises:
        GraftError: the model cannot be opened, an image not be read, or the run fails.
    """
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    model = Model.open(Path(request["model"]), RuntimeConfig(request["device"]))
    # (N, H, W, 3)
    pixels = np.stack([model.decode(_source(path), name=name) for name, path in request["images"]])
    arrays = dict(zip(request["outputs"], model.run(pixels, request["outputs"]), strict=True))
    np.savez(folder / OUTPUTS, allow_pickle=False, **arrays)


def main(folder: str) -> None:
    """Replay, or leave the reason why not; exits with status 1 then."""
    try:
        replay(Path(folder))
    except GraftError as exc:
        (Path(folder) / ERROR).write_text(f"{type(exc).__name__}: {exc}", encoding="utf-8")
        raise SystemExit(1) from exc


def _source(path: str) -> ImageSource:
    return np.load(path, allow_pickle=False) if path.endswith(PIXELS) else Path(path)

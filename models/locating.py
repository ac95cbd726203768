"""From the name of a model, or a path, to its ONNX file: downloaded and built where needed."""

from __future__ import annotations

import difflib
from pathlib import Path

from models.errors import UnknownModelError
from models.extras import full_installation
from models.store import DownloadProgress, cache_folder, fetch
from models.zoo import NAMES, ZooRow, find


def locate(
    spec: str | Path, *, allow_unpinned: bool = False, progress: DownloadProgress | None = None
) -> Path:
    """The ONNX file of a model: a path, or a name of the zoo, downloaded and built where needed.

    Raises:
        UnknownModelError: no such name or file.
        StoreError: the weights could not be downloaded.
        OutputError: the model that was built from them cannot be written.
        WeightsError: the weights do not fit.
    """
    row = find(str(spec))
    if row is None:
        path = Path(spec)
        if path.is_file():
            return path
        raise UnknownModelError(_unknown(str(spec)))
    return row.file if row.file.is_file() else pull(row, allow_unpinned=allow_unpinned, progress=progress)


def pull(
    row: ZooRow,
    *,
    weights: Path | None = None,
    allow_unpinned: bool = False,
    progress: DownloadProgress | None = None,
) -> Path:
    """Build the ONNX file of a row from its weights, downloading them unless `weights` is a local copy.

    Raises:
        StoreError: the weights could not be downloaded.
        OutputError: the model that was built from them cannot be written.
        WeightsError: the weights do not fit.
    """
    with full_installation(f"making the model {row.name} from its weights"):
        from models.conversion import convert_weights

    if weights is None and row.url:
        target = cache_folder() / "weights" / row.name / row.url.rpartition("/")[2]
        weights = fetch(row.url, row.sha256, target, allow_unpinned=allow_unpinned, progress=progress)
    return convert_weights(row, weights)


def _unknown(spec: str) -> str:
    close = difflib.get_close_matches(spec, NAMES, 1, 0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    if spec.endswith((".onnx", ".pth", ".h5")) or "/" in spec:
        return f"{spec}: no such file. Check the path, or give a name from `graft models list`.{hint}"
    return f"model {spec!r} is not known: neither a name from `graft models list` nor a file.{hint}"

"""Variables on disk: safetensors files, written as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from finetune.autodiff.tensor import Variable
from models.errors import WeightsError
from models.files import write_atomically
from models.wording import listed, size


def save(
    path: str | Path, values: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `values` under their names; whoever reads `path` sees the old file or the new one.

    Raises:
        OutputError: the disk is full or the folder is not writable; the file before stays.
    """
    from safetensors.numpy import save as encode

    data = encode(dict(values), dict(metadata) if metadata else None)
    advice = f"What was saved before is whole: make room for {size(len(data))} and go on from it."
    write_atomically(Path(path), data, advice=advice)


def restore(path: str | Path, variables: Sequence[Variable]) -> dict[Variable, NDArray[Any]]:
    """The values of `variables` from a file that `save` wrote.

    Raises:
        WeightsError: not such a file, or the names, shapes or dtypes in it are not those of `variables`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        values = load_file(str(path))
    except (OSError, SafetensorError) as exc:
        raise WeightsError(
            f"{path}: cannot be read as safetensors ({exc}). Expected a file of Session.save."
        ) from exc
    expected = {variable.name: variable for variable in variables}
    missing, unknown = sorted(expected.keys() - values.keys()), sorted(values.keys() - expected.keys())
    if missing or unknown:
        raise WeightsError(
            f"{path} is of another graph: it lacks {listed(missing) or 'nothing'} and has "
            f"{listed(unknown) or 'nothing'} besides. Build the graph as it was when it was saved."
        )
    for name, value in values.items():
        wanted = expected[name]
        if value.shape != wanted.sizes or value.dtype != wanted.dtype:
            raise WeightsError(
                f"{path}: {name} is {value.shape} {value.dtype}, the variable {wanted.sizes} {wanted.dtype}. "
                "Build the graph as it was when it was saved."
            )
    return {expected[name]: value for name, value in values.items()}

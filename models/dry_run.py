"""A network's outputs for images of noise: they tell what the file may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from models.errors import GraftError, ModelError
from models.guessing import Guesses
from models.runtime import RuntimeConfig, zeros
from models.serialized import session_of


def dry_run(
    model: ModelProto, source: str, size: tuple[int, int], layout: str, path: Path, guesses: Guesses
) -> dict[str, NDArray[Any]]:
    """Outputs for one image of noise, those without a row an image left out.

    Outputs that are the same for any image are said.

    Raises:
        ModelError: the network does not run, or has no output with a row an image.
    """
    session = session_of(model, RuntimeConfig(device="cpu"), quiet=True)
    blank = zeros(session, 1)[source]
    shape = (len(blank), 3, *size) if layout == "nchw" else (len(blank), *size, 3)
    noise = np.random.default_rng(0).random(shape, np.float32)
    # Whatever range the network expects, one of them lies well in it.
    factors = (255, 0, 64) if blank.dtype == np.uint8 else (1, 0, 255)
    try:
        runs = [session.run({source: (noise * factor).astype(blank.dtype)}) for factor in factors]
    except GraftError as exc:
        raise ModelError(f"{path}: it cannot run on one image of {size}: {exc}") from exc
    outputs = {n: v for n, v in zip(session.outputs, runs[0], strict=True) if has_rows(v)}
    if not outputs:
        raise ModelError(
            f"{path}: its outputs are {', '.join(session.outputs)}, none of them a tensor with a row for each image. "
            "Is it an image classifier?"
        )
    if all(_same([run[session.outputs.index(name)] for run in runs]) for name in outputs):
        guesses.note(
            "Warning: its outputs are the same for a black image and for noise. The export is broken, or its weights "
            "are: nothing can be learned from them."
        )
    return outputs


def has_rows(result: Any) -> bool:
    """Whether an output is a tensor of at least one axis; others are numbers, or lists of tensors."""
    return isinstance(result, np.ndarray) and result.ndim > 0


def _same(values: list[NDArray[Any]]) -> bool:
    return all(np.array_equal(value, values[0]) for value in values[1:])

"""Vectors of all images of a dataset, through the extraction's pipeline and its cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from feature_extraction.byte_store import open_store
from feature_extraction.extraction import extract_vectors
from finetune.dataset.examples import Example
from models.config import DEFAULT_MODEL
from models.errors import InputError
from models.features import FeatureOptions, open_features
from models.runtime import Array, RuntimeConfig


def embed(
    examples: Sequence[Example],
    model: str | Path = DEFAULT_MODEL,
    config: RuntimeConfig | None = None,
    *,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Embeddings, float32 (N, D), in the order of the examples; a row of NaN where an image cannot be read.

    `progress` hears (images done, images in all).

    Raises:
        InputError: not one image can be read.
        GraftError: as `models.features.open_features`.
    """
    config = config or RuntimeConfig()
    features = open_features(model, FeatureOptions(), config)
    cut = features.cuts[0]
    width = int(np.prod(features.blank[cut].shape[1:]))
    embeddings = np.full((len(examples), width), np.nan, np.float32)
    done = 0
    with ExitStack() as context:
        store = context.enter_context(closing(open_store())) if cache else None
        items = (example.item for example in examples)
        batches = context.enter_context(
            closing(extract_vectors(features, items, features.model.batch_size, config.threads, store))
        )
        for vectors in batches:
            failed = {name for name, _ in vectors.failures}
            rows = [done + i for i, name in enumerate(vectors.names) if name not in failed]
            if rows:
                embeddings[rows] = vectors.arrays[cut].reshape(len(rows), width)
            done += len(vectors.names)
            if progress:
                progress(done, len(examples))
    if not np.isfinite(embeddings).any():
        raise InputError(
            f"not one of {len(examples):,} images can be read; expected at least one. Check the files."
        )
    return embeddings

"""Features that were computed before, found by what they were computed from.

The key is a digest of the image's bytes, of the graph up to the cut (pooling and precision included), of the
preprocessing with its decoders, and of the kind of device. So nothing has to be thrown away by hand: what changes
gets another key, and what nobody asks for any more is the first to go when the cache is full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from feature_extraction.byte_store import ByteStore
from feature_extraction.worker import Rows
from models.features import FeatureModel
from models.fingerprint import preprocessing_digest


class FeatureCache:
    """The features of one model at its cuts, in a store; for `feature_extraction.pipeline`."""

    def __init__(self, features: FeatureModel, store: ByteStore) -> None:
        """Make the part of the keys that is the same for all images."""
        model = features.model
        pixels = preprocessing_digest(model.card.preprocessing)
        self._store, self._blank = store, list(features.blank.values())
        self._parts = [
            f"{digest} {pixels} {model.session.device.kind}".encode() for digest in features.digests
        ]

    def get(self, image: bytes) -> Rows | None:
        """The features of the image with this digest, or None."""
        values = self._store.get(self._keys(image))
        if values is None:
            return None
        return tuple(
            np.frombuffer(data, empty.dtype).reshape(empty.shape[1:])
            for data, empty in zip(values, self._blank, strict=True)
        )

    def put(self, rows: Iterable[tuple[bytes, Rows]]) -> None:
        """Keep features by the digests of their images."""
        self._store.put(
            (key, row.tobytes())
            for image, features in rows
            for key, row in zip(self._keys(image), features, strict=True)
        )

    def _keys(self, image: bytes) -> list[bytes]:
        return [hashlib.sha256(image + part).digest() for part in self._parts]

"""Features as a scikit-learn transformer: the first step of a pipeline that ends in a classifier."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from feature_extraction.byte_store import open_store
from feature_extraction.extraction import extract_vectors
from feature_extraction.opening import Source, open_images
from models.config import DEFAULT_MODEL
from models.errors import InputError
from models.features import FeatureModel, FeatureOptions, Pool, open_features
from models.runtime import Array, RuntimeConfig
from models.settings import documented


@documented(FeatureOptions, RuntimeConfig)
@dataclass(eq=False, repr=False)
class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turns images into the features of a pretrained network.

    X is what `feature_extraction.opening.open_images` takes: a list of paths, of Pillow images or of encoded bytes,
    an array uint8 (N, H, W, 3), a folder. Nothing is learned in `fit`; `transform` gives (N, features), float32 or
    float16. An image that cannot be read is an error here, because rows must stay beside their labels.

    `model` is a name of the zoo or a file; `cut` a cut point or tensor, None the model's own. With `cache` features
    are remembered by the image's content, so that cross-validation computes them once. The others:
    """

    model: str | Path = DEFAULT_MODEL
    cut: str | None = None
    pool: Pool = FeatureOptions.pool
    normalize: Literal["l2"] | None = FeatureOptions.normalize
    dtype: Literal["float32", "float16"] = FeatureOptions.dtype
    device: str = RuntimeConfig.device
    threads: int | None = RuntimeConfig.threads
    batch_size: int | None = None
    cache: bool = True

    def fit(self, X: Source, y: object = None) -> Self:  # noqa: N803 (scikit-learn's name)
        """Open the model; the images are not looked at.

        Raises:
            GraftError: as `models.features.open_features`.
        """
        self._open()
        return self

    def transform(self, X: Source) -> Array:  # noqa: N803 (scikit-learn's name)
        """Features of images, (N, features), in their order.

        Raises:
            ImageError: one of the images cannot be read.
            SourceError: X is nothing that gives images.
        """
        features = self._open()
        (empty,) = features.blank.values()
        rows = [empty.reshape(0, self._width(empty))]
        size = self.batch_size or features.model.batch_size
        with ExitStack() as context:
            store = context.enter_context(closing(open_store())) if self.cache else None
            batches = context.enter_context(
                closing(extract_vectors(features, open_images(X), size, self.threads, store))
            )
            for vectors in batches:
                if vectors.failures:
                    raise vectors.failures[0][1]
                (array,) = vectors.arrays.values()
                rows.append(array.reshape(len(array), -1))
        return np.concatenate(rows)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the features: the cut and a number."""
        ((cut, empty),) = self._open().blank.items()
        return np.array([f"{cut}_{i}" for i in range(self._width(empty))], object)

    def _open(self) -> FeatureModel:
        """The network for the current parameters; opened again when they have changed."""
        options = FeatureOptions((self.cut,) if self.cut else (), self.pool, self.normalize, self.dtype)
        wanted = (str(self.model), options, self.device, self.threads)
        if getattr(self, "_opened", None) != wanted:
            config = RuntimeConfig(self.device, self.threads)
            features = open_features(self.model, options, config)
            if len(features.cuts) > 1:
                raise InputError(
                    f"{self.model}: has several outputs ({', '.join(features.cuts)}); expected one. Name it: cut=..."
                )
            self._features, self._opened = features, wanted
        return self._features

    @staticmethod
    def _width(empty: Array) -> int:
        return int(np.prod(empty.shape[1:]))

    def __getstate__(self) -> dict[str, Any]:
        """The parameters: a session cannot travel to another process, and is opened there again."""
        return {
            key: value for key, value in super().__getstate__().items() if key not in ("_features", "_opened")
        }

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned, so it is always ready."""
        return True

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that X is no table of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        tags.requires_fit = False
        return tags

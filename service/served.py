"""A model that is served: its session, the gate in front of it, and the versions of it that give features."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import CutError, NumericsError
from models.locating import locate
from models.model import Model
from models.names import PROBABILITIES, REJECT_SCORE
from models.runtime import Array
from service.admission import Admission
from service.config import ServiceConfig
from service.results import ImageResult, image_results

# What cuts networks imports onnx, which a service that only classifies need not pay for.
if TYPE_CHECKING:
    from models.features import FeatureModel, FeatureOptions, Pool

_FEATURE_MODELS = 8  # that a model keeps; each has a session as large as the network


class Served:
    """A model under the name by which it is served."""

    def __init__(self, name: str, spec: str, model: Model, config: ServiceConfig) -> None:
        self.name, self.model = name, model
        self.admission = Admission(config.wait_s)
        self._spec, self._config = spec, config
        # The one that was used last stands last.
        self._feature_models: dict[FeatureOptions, FeatureModel] = {}
        self._opening = threading.Lock()

    def results(self, images: NDArray[np.uint8]) -> list[ImageResult]:
        """What the model gives for decoded images (N, H, W, 3).

        Raises:
            BusyError: others have the model for too long.
            ModelError: the model gives features.
            NumericsError: the model answers with NaN or infinity.
        """
        with self.admission.enter():
            return image_results(self.model, images)

    def feature_model(
        self, cut: str | None = None, pool: Pool = "avg", normalize: Literal["l2"] | None = None
    ) -> FeatureModel:
        """The network as `graft features` cuts it, opened when it is first asked for; the last few are kept.

        Raises:
            CutError: no such cut point, one that cannot be pooled, or none named where there is no default.
        """
        from models.features import FeatureOptions, open_features

        with self._opening:
            options = FeatureOptions((self._cut_name(cut),), pool, normalize)
            features = self._feature_models.pop(options, None)
            if features is None:
                features = open_features(self._spec, options, self._config.runtime)
            self._feature_models[options] = features
            if len(self._feature_models) > _FEATURE_MODELS:
                del self._feature_models[next(iter(self._feature_models))]
            return features

    def vectors(self, images: NDArray[np.uint8], features: FeatureModel) -> Array:
        """What a feature model of this model gives, (N, ...), for decoded images (N, H, W, 3).

        Raises:
            BusyError: others have the model for too long.
            NumericsError: the features hold NaN or infinity.
        """
        (cut,) = features.cuts
        with self.admission.enter():
            (values,) = features.model.run(images, [cut])
        if not np.isfinite(values).all():
            raise NumericsError(
                f"{self.name}: features at {cut} hold NaN or infinity; its weights are damaged."
            )
        return values

    def _cut_name(self, asked: str | None) -> str:
        if asked is None:
            if len(self._default_cuts) > 1:
                choices = ", ".join(self._default_cuts)
                raise CutError(f"{self.name} gives features at {choices}; choose one of them with ?cut=.")
            return self._default_cuts[0]
        outputs = [name for name in self.model.session.outputs if name not in (PROBABILITIES, REJECT_SCORE)]
        names = list(dict.fromkeys([*(cut.name for cut in self.model.card.cuts), *outputs]))
        if asked not in names and asked not in self._default_cuts:
            raise CutError(f"{self.name} has no cut point {asked!r}; it has {', '.join(names)}.")
        return asked

    @functools.cached_property
    def _default_cuts(self) -> tuple[str, ...]:
        from models.features import default_cuts
        from models.importing import as_graft_model

        return default_cuts(as_graft_model(locate(self._spec))[0])

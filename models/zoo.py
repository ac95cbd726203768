"""The models that Graft knows by name: one frozen row each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.architectures.blueprint import Blueprint
from models.architectures.inception_v3 import inception_v3
from models.card import SCALES, Accuracy, Normalization
from models.config import DEFAULT_MODEL
from models.preprocessing import Preprocessing
from models.store import cache_folder

BUILTIN = "graft-mini"
_PACKAGE = Path(__file__).parent
_TIMM = "https://huggingface.co/timm/inception_v3.{}/resolve/main/model.safetensors"
# torchvision/models/inception.py: Inception_V3_Weights.IMAGENET1K_V1 resizes to 342 and crops 299.
_TORCHVISION_RESIZE = Preprocessing((299, 299), "shorter", 342)
# timm evaluates with a crop of 0.875: floor(299 / 0.875) = 341. Source: timm/models/inception_v3.py, `_cfg`.
_TIMM_RESIZE = Preprocessing((299, 299), "shorter", 341, interpolation="bicubic")


@dataclass(frozen=True)
class ZooRow:
    """One model: where its weights are, how they are pinned, and what images it wants."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    url: str = ""  # of the weights; empty for what needs no download
    sha256: str = ""  # the whole digest, or as much of it as was published
    architecture: Callable[[], Blueprint] = inception_v3
    preprocessing: Preprocessing = _TORCHVISION_RESIZE
    normalization: Normalization = SCALES["-1..1"]
    accuracy: tuple[Accuracy, ...] = ()
    licence: str = ""
    source: str = ""

    @property
    def file(self) -> Path:
        """The ONNX file: in the package, or in the cache once it has been built."""
        if self.name == BUILTIN:
            return _PACKAGE / "builtin" / "graft_mini.onnx"
        return cache_folder() / "models" / f"{self.name}.onnx"


def _imagenet(top1: float, top5: float, source: str) -> tuple[Accuracy, ...]:
    return (Accuracy("ImageNet", "validation", 50_000, top1, top5, source),)


_TIMM_RESULTS = "published: timm, results-imagenet.csv"
ZOO = (
    ZooRow(
        BUILTIN,
        (DEFAULT_MODEL, "mini"),
        "the built-in model: small, offline, 200 classes of Tiny ImageNet",
        licence="Apache-2.0",
        source="trained by this project, scripts/graft_mini",
    ),
    ZooRow(
        "inception_v3.torchvision",
        ("inception_v3",),
        "InceptionV3, torchvision's weights (converted from TensorFlow)",
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        "0cc3c7bd",
        # torchvision's transform_input turns the ImageNet normalisation of its transforms into (x - 0.5) / 0.5.
        accuracy=_imagenet(0.77294, 0.93450, "published: torchvision, Inception_V3_Weights"),
        licence="BSD-3-Clause",
        source="torchvision",
    ),
    ZooRow(
        "inception_v3.tv_in1k",
        (),
        "InceptionV3, timm's copy of torchvision's weights",
        _TIMM.format("tv_in1k"),
        "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
        preprocessing=_TIMM_RESIZE,
        accuracy=_imagenet(0.77472, 0.93468, _TIMM_RESULTS),
        licence="Apache-2.0",
        source="timm/inception_v3.tv_in1k",
    ),
    ZooRow(
        "inception_v3.tf_in1k",
        (),
        "InceptionV3, trained with TensorFlow-slim",
        _TIMM.format("tf_in1k"),
        preprocessing=_TIMM_RESIZE,
        accuracy=_imagenet(0.77866, 0.93644, _TIMM_RESULTS),
        licence="Apache-2.0",
        source="timm/inception_v3.tf_in1k",
    ),
    ZooRow(
        "inception_v3.tf_adv_in1k",
        (),
        "InceptionV3, trained against adversarial images",
        _TIMM.format("tf_adv_in1k"),
        preprocessing=_TIMM_RESIZE,
        licence="Apache-2.0",
        source="timm/inception_v3.tf_adv_in1k",
    ),
    ZooRow(
        "inception_v3.gluon_in1k",
        (),
        "InceptionV3, trained with MXNet Gluon: the most accurate",
        _TIMM.format("gluon_in1k"),
        preprocessing=_TIMM_RESIZE,
        # The one set of weights with ImageNet's mean and deviation. Source: timm, `inception_v3.gluon_in1k`.
        normalization=SCALES["imagenet"],
        accuracy=_imagenet(0.78806, 0.94372, _TIMM_RESULTS),
        licence="Apache-2.0",
        source="timm/inception_v3.gluon_in1k",
    ),
    ZooRow(
        "inception_v3.keras",
        (),
        "InceptionV3, Keras' weights",
        "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
        "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        "00c9ea4e4762f716ac4d300d6d9c2935639cc5e4d139b5790d765dcbeea539d0",
        functools.partial(inception_v3, variant="keras"),
        # keras.applications.inception_v3.preprocess_input: x / 127.5 - 1, on images squashed to 299 x 299. Bilinear, as
        # in keras.utils.image_dataset_from_directory; load_img takes the nearest pixel unless told otherwise.
        Preprocessing((299, 299), "squash"),
        accuracy=_imagenet(0.779, 0.937, "published: keras.io/api/applications"),
        licence="Apache-2.0",
        source="keras-applications",
    ),
    ZooRow(
        "inception_v3.random",
        (),
        "InceptionV3 with random weights: full size, offline, knows nothing; for benchmarks",
        source="seeded, He et al. 2015",
    ),
)
NAMES = {name: row for row in ZOO for name in (row.name, *row.aliases)}


def find(name: str) -> ZooRow | None:
    """The row of a name or alias, or None."""
    return NAMES.get(name)

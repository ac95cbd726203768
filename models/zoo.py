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
from models.import_options import Layout
from models.preprocessing import Preprocessing
from models.store import cache_folder

BUILTIN = "graft-mini"
RECOMMENDED = "mobilenet_v2"  # the first backbone to try in place of the built-in one
_PACKAGE = Path(__file__).parent
_TIMM = "https://huggingface.co/timm/inception_v3.{}/resolve/main/model.safetensors"
# torchvision/models/inception.py: Inception_V3_Weights.IMAGENET1K_V1 resizes to 342 and crops 299.
_TORCHVISION_RESIZE = Preprocessing((299, 299), "shorter", 342)
# timm evaluates with a crop of 0.875: floor(299 / 0.875) = 341. Source: timm/models/inception_v3.py, `_cfg`.
_TIMM_RESIZE = Preprocessing((299, 299), "shorter", 341, interpolation="bicubic")


@dataclass(frozen=True)
class ZooRow:
    """One model: where its weights are, how they are pinned, and what images it wants.

    `architecture` None: what is downloaded is a whole ONNX network, which is imported as the row says.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""  # what it is, and what it is good for
    url: str = ""  # of the weights; empty for what needs no download
    sha256: str = ""  # the whole digest, or as much of it as was published
    octets: int | None = None  # of the download; None where nobody published it
    architecture: Callable[[], Blueprint] | None = inception_v3
    layout: Layout = "nchw"  # of a network that is imported
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


def _imagenet(top1: float, top5: float | None, source: str) -> tuple[Accuracy, ...]:
    return (Accuracy("ImageNet", "validation", 50_000, top1, top5, source),)


def _onnx_zoo(
    name: str,
    stem: str,
    aliases: tuple[str, ...],
    description: str,
    digest: str,
    octets: int,
    accuracy: tuple[Accuracy, ...],
    normalization: Normalization = SCALES["imagenet"],
    layout: Layout = "nchw",
) -> ZooRow:
    """A network of the ONNX Model Zoo, with digest and size as in its ONNX_HUB_MANIFEST.json.

    Shorter side to 256, bilinear, and the central 224: the networks' READMEs in onnx/models. All but EfficientNet-Lite4
    take ImageNet's mean and deviation off.
    """
    return ZooRow(
        name,
        (*aliases, stem),
        description,
        f"https://huggingface.co/onnxmodelzoo/{stem}/resolve/main/{stem}.onnx",
        digest,
        octets,
        None,
        layout,
        Preprocessing((224, 224), "shorter", 256),
        normalization,
        accuracy,
        "Apache-2.0",
        f"onnx/models, {stem}",
    )


_README = "published: onnx/models, README of the network"
_TIMM_RESULTS = "published: timm, results-imagenet.csv"
ZOO = (
    ZooRow(
        BUILTIN,
        (DEFAULT_MODEL, "mini"),
        "Works offline. For trying things out, and a quick backbone for simple pictures; it has only ever seen 64 "
        "pixels a side.",
        licence="Apache-2.0",
        source="trained by this project, scripts/graft_mini",
    ),
    _onnx_zoo(
        RECOMMENDED,
        "mobilenetv2-12",
        (),
        "MobileNetV2: small and fast. The first backbone to try on photos of your own.",
        "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
        13_964_571,
        _imagenet(0.6948, 0.8926, _README),
    ),
    _onnx_zoo(
        "shufflenet_v2",
        "shufflenet-v2-10",
        (),
        "ShuffleNetV2: smaller and faster still, as accurate as MobileNetV2.",
        "8b85e969a0a5518b554c99548379d1ba54d973733a6a12012138d91852308584",
        9_218_554,
        _imagenet(0.6936, 0.8832, _README),
    ),
    _onnx_zoo(
        "squeezenet_1_1",
        "squeezenet1.1-7",
        (),
        "SqueezeNet 1.1: the smallest, where every megabyte counts; clearly less accurate.",
        "1eeff551a67ae8d565ca33b572fc4b66e3ef357b0eb2863bb9ff47a918cc4088",
        4_956_208,
        _imagenet(0.5634, 0.7912, _README),
    ),
    _onnx_zoo(
        "resnet18_v1",
        "resnet18-v1-7",
        ("resnet18",),
        "ResNet-18: plain and well understood; features of 512 numbers.",
        "4e8f8653e7a2222b3904cc3fe8e304cd8b339ce1d05fd24688162f86fb6df52c",
        46_820_737,
        _imagenet(0.6993, 0.8929, _README),
    ),
    _onnx_zoo(
        "resnet50_v1",
        "resnet50-v1-12",
        (),
        "ResNet-50: a strong backbone; features of 2,048 numbers, several times slower than MobileNetV2.",
        "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526",
        102_576_593,
        _imagenet(0.7497, 0.9233, _README),
    ),
    _onnx_zoo(
        "resnet50_v2",
        "resnet50-v2-7",
        (),
        "ResNet-50, second version: a little more accurate than the first.",
        "79102261eb6e5fd7af5d27f41316293e388c5cb691e5d25bfb035c4f64fefe31",
        102_442_452,
        _imagenet(0.7581, 0.9282, _README),
    ),
    _onnx_zoo(
        "efficientnet_lite4",
        "efficientnet-lite4-11",
        (),
        "EfficientNet-Lite4: the most accurate here for its size; slower than MobileNetV2.",
        "d111689907c06eea7c82e4833ddef758da6453b9d4cf60b7e99ca05c7cbd9c12",
        51_946_641,
        # The README gives 80.4 for the network that it was made from; this is the file's own figure.
        _imagenet(0.7770, None, f"{_README}: measured on this file; 80.4 % is given for the original"),
        # (x - 127) / 128
        Normalization((127 / 255,) * 3, (128 / 255,) * 3),
        "nhwc",
    ),
    ZooRow(
        "inception_v3.torchvision",
        ("inception_v3",),
        "InceptionV3, torchvision's weights (converted from TensorFlow): a strong, slow backbone that sees fine "
        "detail, at 299 pixels.",
        "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        "0cc3c7bd",
        # torchvision's `_file_size`, 103.903 MiB
        108_950_000,
        # torchvision's transform_input turns the ImageNet normalisation of its transforms into (x - 0.5) / 0.5.
        accuracy=_imagenet(0.77294, 0.93450, "published: torchvision, Inception_V3_Weights"),
        licence="BSD-3-Clause",
        source="torchvision",
    ),
    ZooRow(
        "inception_v3.tv_in1k",
        (),
        "InceptionV3, timm's copy of torchvision's weights.",
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
        "InceptionV3, trained with TensorFlow-slim.",
        _TIMM.format("tf_in1k"),
        preprocessing=_TIMM_RESIZE,
        accuracy=_imagenet(0.77866, 0.93644, _TIMM_RESULTS),
        licence="Apache-2.0",
        source="timm/inception_v3.tf_in1k",
    ),
    ZooRow(
        "inception_v3.tf_adv_in1k",
        (),
        "InceptionV3, trained against images that were altered to deceive it.",
        _TIMM.format("tf_adv_in1k"),
        preprocessing=_TIMM_RESIZE,
        licence="Apache-2.0",
        source="timm/inception_v3.tf_adv_in1k",
    ),
    ZooRow(
        "inception_v3.gluon_in1k",
        (),
        "InceptionV3, trained with MXNet Gluon: the most accurate of them.",
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
        "InceptionV3, Keras' weights.",
        "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
        "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        "00c9ea4e4762f716ac4d300d6d9c2935639cc5e4d139b5790d765dcbeea539d0",
        96_112_376,
        functools.partial(inception_v3, variant="keras"),
        # keras.applications.inception_v3.preprocess_input: x / 127.5 - 1, on images squashed to 299 x 299. Bilinear, as
        # in keras.utils.image_dataset_from_directory; load_img takes the nearest pixel unless told otherwise.
        preprocessing=Preprocessing((299, 299), "squash"),
        accuracy=_imagenet(0.779, 0.937, "published: keras.io/api/applications"),
        licence="Apache-2.0",
        source="keras-applications",
    ),
    ZooRow(
        "inception_v3.random",
        (),
        "InceptionV3 with random weights: full size, offline, knows nothing; for benchmarks.",
        source="seeded, He et al. 2015",
    ),
)
NAMES = {name: row for row in ZOO for name in (row.name, *row.aliases)}


def find(name: str) -> ZooRow | None:
    """The row of a name or alias, or None."""
    return NAMES.get(name)

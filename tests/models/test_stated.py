"""What transformers and timm write beside a network: read as they read it, said, and checked against the network.

The expected values were compared, pixel by pixel, with the processors of transformers 4.57.1 and timm 1.0.31.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.card import SCALES, Normalization, card_of
from models.guessing import Guesses
from models.importing import ImportOptions, import_model
from models.preprocessing import Preprocessing
from models.stated import Resize, Stated, stated_beside
from tests.models.nets import node, residual_net, save

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
TIMM = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def write(folder: Path, values: Any, name: str = "preprocessor_config.json") -> None:
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")


def read(
    folder: Path, values: Any, name: str = "preprocessor_config.json"
) -> tuple[Stated | None, tuple[str, ...]]:
    write(folder, values, name)
    guesses = Guesses()
    return stated_beside(folder / "net.onnx", guesses), guesses.notes


def squared(red: float, green: float, blue: float) -> tuple[float, float, float]:
    return red**2, green**2, blue**2


@pytest.mark.parametrize(
    ("config", "scale", "size", "resize", "interpolation"),
    [
        # ViT: squashed
        (
            {
                "do_normalize": True,
                "resample": 2,
                "rescale_factor": 1 / 255,
                "size": {"height": 224, "width": 192},
                **HALF,
            },
            SCALES["-1..1"],
            (224, 192),
            Resize("squash"),
            "bilinear",
        ),
        # the first feature extractors had one number
        ({"size": 224, "resample": 3, **HALF}, SCALES["-1..1"], (224, 224), Resize("squash"), "bicubic"),
        # CLIP, Bit, MobileNet
        (
            {
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
                "resample": 3,
                **IMAGENET,
            },
            SCALES["imagenet"],
            (224, 224),
            Resize("shorter", 256),
            "bicubic",
        ),
        (
            {"size": 224, "crop_size": 224, "resample": 1, **IMAGENET},
            SCALES["imagenet"],
            (224, 224),
            Resize("shorter", 224),
            "lanczos",
        ),
        # DeiT and BEiT: squashed to more, of which the centre is kept
        (
            {"size": {"height": 256, "width": 256}, "crop_size": 224, **HALF},
            SCALES["-1..1"],
            (224, 224),
            Resize("squash", None, 0.875),
            None,
        ),
        (
            {"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": False, **HALF},
            SCALES["-1..1"],
            (256, 256),
            Resize("squash"),
            None,
        ),
        # ConvNext crops below 384 and squashes from there
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 224},
                "crop_pct": 0.875,
                **IMAGENET,
            },
            SCALES["imagenet"],
            (224, 224),
            Resize("shorter", 256),
            None,
        ),
        (
            {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 384, **IMAGENET},
            SCALES["imagenet"],
            (384, 384),
            Resize("squash"),
            None,
        ),
        (
            {
                "image_processor_type": "LevitImageProcessor",
                "size": {"shortest_edge": 224},
                "crop_size": 224,
                **IMAGENET,
            },
            SCALES["imagenet"],
            (224, 224),
            Resize("shorter", 256),
            None,
        ),
        # no mean and deviation: 0..1, or bytes
        ({"size": 224, "do_normalize": False}, SCALES["0..1"], (224, 224), Resize("squash"), None),
        (
            {"size": 224, "do_normalize": False, "do_rescale": False},
            SCALES["0..255"],
            (224, 224),
            Resize("squash"),
            None,
        ),
        # a mean in 0..255
        (
            {
                "size": 224,
                "do_rescale": False,
                "image_mean": [123.675, 116.28, 103.53],
                "image_std": [58.395, 57.12, 57.375],
            },
            SCALES["imagenet"],
            (224, 224),
            Resize("squash"),
            None,
        ),
        (
            {"size": 224, "image_mean": 0.5, "image_std": 0.5},
            SCALES["-1..1"],
            (224, 224),
            Resize("squash"),
            None,
        ),
        # EfficientNet: -1..1, or the deviation taken twice
        (
            {
                "size": 224,
                "resample": 0,
                "rescale_factor": 1 / 127.5,
                "rescale_offset": True,
                "do_normalize": False,
            },
            SCALES["-1..1"],
            (224, 224),
            Resize("squash"),
            "nearest",
        ),
        (
            {"image_processor_type": "EfficientNetImageProcessor", "size": 224, **IMAGENET},
            Normalization((0.485, 0.456, 0.406), squared(0.229, 0.224, 0.225)),
            (224, 224),
            Resize("squash"),
            None,
        ),
    ],
)
def test_processors_of_transformers(
    config: dict[str, Any],
    scale: Normalization,
    size: tuple[int, int],
    resize: Resize,
    interpolation: str | None,
    tmp_path: Path,
) -> None:
    stated, notes = read(tmp_path, config)
    assert stated is not None
    assert stated.normalization is not None
    np.testing.assert_allclose(stated.normalization.mean, scale.mean, atol=1e-6)
    np.testing.assert_allclose(stated.normalization.std, scale.std, atol=1e-6)
    assert (stated.size, stated.resize, stated.interpolation) == (size, resize, interpolation)
    assert stated.channels == "rgb"
    assert not notes


@pytest.mark.parametrize(
    ("config", "size", "resize"),
    [
        ({"input_size": [3, 224, 224], "crop_pct": 0.95}, (224, 224), Resize("shorter", 235)),
        ({"input_size": [3, 299, 299]}, (299, 299), Resize("shorter", 341)),
        ({"input_size": [3, 224, 224], "crop_pct": 1.0, "crop_mode": "squash"}, (224, 224), Resize("squash")),
        (
            {"input_size": [3, 224, 224], "crop_pct": 1.0, "crop_mode": "border"},
            (224, 224),
            Resize("pad", pad_value=114),
        ),
    ],
)
def test_configurations_of_timm(
    config: dict[str, Any], size: tuple[int, int], resize: Resize, tmp_path: Path
) -> None:
    config = {**config, **TIMM, "interpolation": "bicubic"}
    for values in ({"architecture": "net", "pretrained_cfg": config}, config):  # older ones are flat
        stated, notes = read(tmp_path, values, "config.json")
        expected = Stated("config.json", SCALES["imagenet"], "rgb", size, resize, "bicubic")
        assert (stated, notes) == (expected, ())


def test_a_size_that_is_not_square_is_not_quite_followed(tmp_path: Path) -> None:
    config = {"input_size": [3, 192, 256], "crop_pct": 0.9, **TIMM}
    stated, notes = read(tmp_path, config, "config.json")
    assert stated is not None
    assert stated.resize == Resize("shorter", 284)
    assert "not quite prepared as timm does it for 192 x 256" in " ".join(notes)


def test_blue_first(tmp_path: Path) -> None:
    config = {
        "image_processor_type": "MobileViTImageProcessor",
        "size": {"shortest_edge": 288},
        "crop_size": 256,
    }
    stated, _ = read(tmp_path, config)
    assert stated is not None
    assert (stated.channels, stated.normalization) == ("bgr", SCALES["0..1"])
    stated, _ = read(tmp_path, {**config, "do_flip_channel_order": False})
    assert stated is not None
    assert stated.channels == "rgb"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "cannot be used"),
        ("[" * 100_000, "cannot be used (it is nested too deeply)"),
        ("[1]", "it holds list, not settings"),
        (
            {"size": 224, "image_mean": [0.5], "image_std": [0.5]},
            "image_mean is [0.5]; expected three numbers",
        ),
        ({"size": 224, "image_mean": ["a", 0, 0], "image_std": [1, 1, 1]}, "could not convert"),
        ({"size": 224, "image_mean": [0, 0, 0], "image_std": [0, 1, 1]}, "a deviation of 0"),
        ({"size": 224, "image_mean": [float("nan"), 0, 0], "image_std": [1, 1, 1]}, "nan' is no number"),
        ({"size": 224, "rescale_factor": 0, **HALF}, "rescale_factor is 0"),
        ({"size": -3, **HALF}, "a side of -3 pixels"),
        ({"size": {"height": 224, "width": 1e9}, **HALF}, "a side of 1000000000.0 pixels"),
        (
            {"size": {"height": 224, "width": 224}, "crop_size": {"height": 3}, **HALF},
            "cannot be used ('width')",
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 7, **HALF}, "crop_pct 7"),
        ({"size": {"longest_edge": 800}, **HALF}, "{'longest_edge': 800}, which is not followed"),
        ({"size": 224, "crop_size": 256, **HALF}, "larger crop_size (256, 256) is not followed"),
        ({"size": 224, "do_resize": False, **HALF}, "does not resize images"),
        ({"size": 224, "do_pad": True, **HALF}, "pads images, which is not followed"),
        ({"size": 224, "resample": 5, **HALF}, "resample is '5', not known here"),
        ({"size": 224, "do_normalize": True}, "not with which mean"),
    ],
)
def test_what_cannot_be_followed_is_said(config: Any, words: str, tmp_path: Path) -> None:
    _, notes = read(tmp_path, config)
    assert words in " ".join(notes)


def test_other_tools_files_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "not json at all", "config.json") == (None, ())
    assert read(tmp_path, {"model_type": "vit", "id2label": {"0": "a"}}, "config.json") == (None, ())
    assert read(tmp_path, {"feature_extractor": "of sound"}) == (None, ())


def test_the_folder_above_of_transformers_exports(tmp_path: Path) -> None:
    write(tmp_path, {"image_processor": {"size": 224, **HALF}}, "processor_config.json")
    (tmp_path / "onnx").mkdir()
    stated = stated_beside(tmp_path / "onnx" / "model.onnx", Guesses())
    assert stated is not None
    assert stated.normalization == SCALES["-1..1"]


def imported(
    path: Path, options: ImportOptions | None = None
) -> tuple[Normalization, Preprocessing, str, str]:
    proto, notes = import_model(path, options)
    card = card_of(proto, str(path))
    assert card is not None
    return card.normalization, card.preprocessing, card.channels, " / ".join(notes)


def test_an_import_takes_what_stands_beside_and_says_so(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", shape=("N", 3, "h", "w"))
    write(tmp_path, {"size": {"shortest_edge": 40}, "crop_size": 32, "resample": 3, **HALF})
    scale, preprocessing, channels, notes = imported(path)
    assert (scale, channels) == (SCALES["-1..1"], "rgb")
    assert preprocessing == Preprocessing((32, 32), "shorter", 40, interpolation="bicubic")
    assert "size 32 x 32, from preprocessor_config.json" in notes
    assert "read from preprocessor_config.json: pixels -1..1" in notes
    assert "read from preprocessor_config.json: shorter side to 40, central 32 x 32 pixels, bicubic" in notes
    assert "most networks" not in notes


def test_options_go_before_what_stands_beside(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    write(tmp_path, {"size": 32, "resample": 3, **HALF})
    options = ImportOptions(scale="0..1", resize="shorter", resize_to=36, channels="bgr")
    scale, preprocessing, channels, notes = imported(path, options)
    assert (scale, channels) == (SCALES["0..1"], "bgr")
    assert preprocessing == Preprocessing((32, 32), "shorter", 36, interpolation="bicubic")
    assert "pixels" not in notes


def test_another_size_than_the_network_takes_is_said(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    write(tmp_path, {"size": {"shortest_edge": 256}, "crop_size": 224, **IMAGENET})
    _, preprocessing, _, notes = imported(path)
    assert preprocessing == Preprocessing((32, 32), "shorter", 37)
    assert "says 224 x 224, and images of 32 x 32 are given" in notes


@pytest.mark.parametrize("same", [False, True])
def test_the_networks_own_arithmetic_is_believed(tmp_path: Path, same: bool) -> None:
    """An export that holds the scaling already would have it twice."""
    weights = {"m": np.float32([127.5]), "w": np.ones((3, 3, 3, 3), np.float32)}
    nodes = [
        node("Div", ["x", "m"], ["d"]),
        node("Conv", ["d", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
    ]
    nodes += [node("Flatten", ["p"], ["out"])]
    weights["one"] = np.float32([1])
    nodes[1:1] = [node("Sub", ["d", "one"], ["s"])]
    nodes[2].input[0] = "s"
    path = save(tmp_path / "net.onnx", nodes, weights)
    bytes_ = {"do_rescale": False, "do_normalize": False}
    write(tmp_path, {"size": 32, **(bytes_ if same else HALF)})
    scale, _, _, notes = imported(path)
    assert scale == SCALES["0..255"]
    assert ("which is believed" in notes) is not same
    assert ("read from preprocessor_config.json: pixels 0..255" in notes) is same


def test_a_network_that_takes_bytes_is_told_so(tmp_path: Path) -> None:
    weights = {"w": np.ones((3, 3, 3, 3), np.float32)}
    nodes = [
        node("Cast", ["x"], ["f"], to=1),
        node("Conv", ["f", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
    ]
    path = save(tmp_path / "net.onnx", [*nodes, node("Flatten", ["p"], ["out"])], weights, kind=2)
    write(tmp_path, {"size": 32, **IMAGENET})
    scale, _, _, notes = imported(path)
    assert scale == SCALES["0..255"]
    assert "not applied: the network takes bytes" in notes

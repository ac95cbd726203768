"""InceptionV3 against torchvision, timm and Keras: golden vectors made by `scripts/golden`, in float64."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from models.architectures.inception_v3 import Variant, inception_v3
from models.build import build
from models.weights import read
from models.weights.canonical import IGNORED_PREFIX, IGNORED_SUFFIX, expected_shapes
from scripts.golden.seeded import FOLDER, images, keras_tensor, sample, torch_tensor
from tests.models.running import run
from tests.models.weights import pth

TOLERANCE = 1e-4
HALF = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(reference: str) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(FOLDER / f"{reference}.npz") as file:
        golden = dict(file)
    return golden, json.loads(golden.pop("notes").item())


def errors(activations: dict[str, np.ndarray], golden: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference at each cut point, relative to the root mean square there."""
    result = {}
    for cut in inception_v3().cuts:
        ours, theirs = activations[cut], golden[f"{cut}.samples"].astype(np.float64)
        assert ours.shape == tuple(golden[f"{cut}.shape"])
        mean, deviation = golden[f"{cut}.moments"]
        scale = np.hypot(mean, deviation)
        wide = ours.astype(np.float64)
        differences = [sample(cut, wide) - theirs, wide.mean() - mean, wide.std() - deviation]
        result[cut] = max(float(np.abs(difference).max()) for difference in differences) / scale
    return result


def torchvision_file(folder: Path, notes: dict) -> Path:
    tensors = {name: torch_tensor(name, shape) for name, shape in notes["tensors"]}
    return pth.write_zip(folder / "weights.pth", tensors)


def timm_file(folder: Path, notes: dict) -> Path:
    save_file(
        {name: torch_tensor(name, shape) for name, shape in notes["tensors"]}, folder / "weights.safetensors"
    )
    return folder / "weights.safetensors"


def keras_file(folder: Path, notes: dict) -> Path:
    """The reference's own layers and tensors, in the order in which Keras itself writes them."""
    with h5py.File(folder / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [name for name, _ in notes["layers"]]
        for layer, tensors in notes["layers"]:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name for name, _ in tensors]
            for name, shape in tensors:
                group[name] = keras_tensor(f"{layer}/{name.rpartition('/')[2]}", shape)
    return folder / "weights.h5"


@pytest.mark.parametrize(
    ("reference", "variant", "write", "normalization"),
    [
        # Made with ImageNet's normalisation and transform_input=True; together they are (x / 255 - 0.5) / 0.5.
        ("torchvision", "torchvision", torchvision_file, (HALF, HALF)),
        ("timm", "torchvision", timm_file, IMAGENET),
        ("keras", "keras", keras_file, (HALF, HALF)),
    ],
    ids=["torchvision", "timm", "keras"],
)
def test_every_cut_point_equals_the_reference(
    reference: str, variant: Variant, write: Callable, normalization: tuple, tmp_path: Path
) -> None:
    golden, notes = load(reference)
    blueprint = inception_v3(variant=variant)
    weights = read(write(tmp_path, notes), blueprint)
    for fold in (True, False):
        model = build(blueprint, weights, mean=normalization[0], std=normalization[1], fold=fold)
        found = errors(run(model, images(), blueprint.cuts), golden)
        assert len(found) == 20
        assert max(found.values()) < TOLERANCE, (fold, found)


def test_the_comparison_notices_how_the_border_is_pooled() -> None:
    golden, notes = load("torchvision")
    weights = {name: torch_tensor(name, shape) for name, shape in notes["tensors"]}
    blueprint = inception_v3(variant="keras")
    found = errors(run(build(blueprint, weights, mean=HALF, std=HALF), images(), blueprint.cuts), golden)
    assert found["maxpool_5a_3x3"] < TOLERANCE < 100 * TOLERANCE < found["mixed_5b"]


@pytest.mark.parametrize("reference", ["torchvision", "timm"])
def test_canonical_names_and_shapes_are_those_of(reference: str) -> None:
    _, notes = load(reference)
    used = {
        name: tuple(shape)
        for name, shape in notes["tensors"]
        if not name.startswith(IGNORED_PREFIX) and not name.endswith(IGNORED_SUFFIX)
    }
    assert used == expected_shapes(inception_v3())
    assert any(name.startswith(IGNORED_PREFIX) for name, _ in notes["tensors"])


def test_cut_points_have_the_published_shapes() -> None:
    blueprint = inception_v3(classes=7)
    shapes = {cut: blueprint.shape(layer) for cut, layer in blueprint.cuts.items()}
    assert shapes["mixed_5b"] == (256, 35, 35)
    assert shapes["mixed_6e"] == (768, 17, 17)
    assert shapes["mixed_7a"] == (1280, 8, 8)
    assert shapes["mixed_7c"] == (2048, 8, 8)
    assert (shapes["pool"], shapes["logits"]) == ((2048,), (7,))


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="variant is 'slim'; expected one of torchvision, keras"):
        inception_v3(variant="slim")  # type: ignore[arg-type]

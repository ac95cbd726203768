"""Preprocessing against the code that belongs to each set of weights: the same pixels, every one of them.

Golden data and what exactly was run: `scripts/golden/preprocessing.py`. TF-slim's centre crop of 87.5 % is not among
them: it lives in TensorFlow.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from models.preprocessing import Preprocessing
from models.zoo import ZOO
from scripts.golden.seeded import FOLDER, photographs, sample

SIZE = (299, 299)
SETTINGS = {
    "torchvision": Preprocessing(SIZE, "shorter", 342, interpolation="bilinear"),
    "timm": Preprocessing(SIZE, "shorter", 341, interpolation="bicubic"),
    "keras_nearest": Preprocessing(SIZE, "squash", interpolation="nearest"),
    "keras_bilinear": Preprocessing(SIZE, "squash", interpolation="bilinear"),
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "preprocessing.npz") as file:
        return dict(file)


@pytest.mark.parametrize("reference", SETTINGS)
def test_every_pixel_equals_the_reference(reference: str, golden: dict[str, np.ndarray]) -> None:
    for photograph, pixels in photographs().items():
        case = f"{reference}.{photograph}"
        result = SETTINGS[reference].load(pixels)
        np.testing.assert_array_equal(sample(case, result), golden[f"{case}.samples"], case)
        assert hashlib.sha256(result.tobytes()).hexdigest() == golden[f"{case}.sha256"], case


def test_the_references_differ_from_each_other(golden: dict[str, np.ndarray]) -> None:
    for photograph in photographs():
        digests = {golden[f"{reference}.{photograph}.sha256"].item() for reference in SETTINGS}
        assert len(digests) == len(SETTINGS), photograph


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ("inception_v3.torchvision", "torchvision"),
        *((f"inception_v3.{name}", "timm") for name in ("tv_in1k", "tf_in1k", "tf_adv_in1k", "gluon_in1k")),
        ("inception_v3.keras", "keras_bilinear"),
    ],
)
def test_the_zoo_uses_what_was_proved(row: str, reference: str) -> None:
    assert {r.name: r.preprocessing for r in ZOO}[row] == SETTINGS[reference]

"""Golden pixels of the preprocessing that belongs to each set of weights, made by its own code.

* torchvision: the transforms of `Inception_V3_Weights.IMAGENET1K_V1`: shorter side to 342, bilinear, crop of 299.
* timm: `create_transform` on the configuration of `inception_v3.tv_in1k`: shorter side to 341, bicubic, crop of 299.
* Keras: `keras.utils.load_img(path, target_size=(299, 299))`, as in the examples of keras.io/api/applications, which
  squashes, with nearest-neighbour interpolation unless told otherwise; and the same with bilinear interpolation.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from PIL import Image

from scripts.golden.references import timm, torchvision
from scripts.golden.seeded import FOLDER, photographs, sample

Reference = Callable[[Image.Image], np.ndarray]


def by_torchvision(image: Image.Image) -> np.ndarray:
    preset = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.transforms()
    functional = torchvision.transforms.functional
    resized = functional.resize(
        image, preset.resize_size, interpolation=preset.interpolation, antialias=preset.antialias
    )
    return np.asarray(functional.center_crop(resized, preset.crop_size))


def by_timm(image: Image.Image) -> np.ndarray:
    network = timm.create_model("inception_v3.tv_in1k", pretrained=False)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network))
    # The last steps turn pixels into a normalised tensor; here they are wanted as they are.
    geometry = [step for step in transform.transforms if type(step).__name__ in ("Resize", "CenterCrop")]
    for step in geometry:
        image = step(image)
    return np.asarray(image)


def by_keras(interpolation: str) -> Reference:
    def load(image: Image.Image) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.png"
            image.save(path)
            return np.asarray(keras.utils.load_img(path, target_size=(299, 299), interpolation=interpolation))

    return load


REFERENCES: dict[str, Reference] = {
    "torchvision": by_torchvision,
    "timm": by_timm,
    "keras_nearest": by_keras("nearest"),
    "keras_bilinear": by_keras("bilinear"),
}


def main() -> None:
    arrays = {}
    for reference, run in REFERENCES.items():
        for photograph, pixels in photographs().items():
            result = run(Image.fromarray(pixels))
            assert result.shape == (299, 299, 3), result.shape
            case = f"{reference}.{photograph}"
            arrays[f"{case}.sha256"] = np.asarray(hashlib.sha256(result.tobytes()).hexdigest())
            arrays[f"{case}.samples"] = sample(case, result)
    np.savez_compressed(FOLDER / "preprocessing.npz", **arrays)
    print(f"{len(arrays) // 2} cases, {(FOLDER / 'preprocessing.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

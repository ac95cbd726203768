"""Golden vectors of Keras' InceptionV3, computed in float64 on its PyTorch backend."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import torch
from keras.src.legacy.saving import legacy_h5_format

from scripts.golden.seeded import BLOCKS, FOLDER, images, keras_tensor, write

# Keras numbers its layers: the activations and poolings of the stem are the first ones.
STEM = {
    "conv2d_1a_3x3": "activation",
    "conv2d_2a_3x3": "activation_1",
    "conv2d_2b_3x3": "activation_2",
    "maxpool_3a_3x3": "max_pooling2d",
    "conv2d_3b_1x1": "activation_3",
    "conv2d_4a_3x3": "activation_4",
    "maxpool_5a_3x3": "max_pooling2d_1",
}
MIXED = {f"mixed_{cut}": f"mixed{i}" for i, cut in enumerate(BLOCKS)}
TOP = {"pool": "avg_pool", "logits": "predictions"}


def listing(model: keras.Model) -> list[tuple[str, list[tuple[str, list[int]]]]]:
    """Layers and tensors in the order in which Keras writes them into a legacy HDF5 file."""
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder) / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        names = legacy_h5_format.load_attributes_from_hdf5_group(file, "layer_names")
        weights = {
            n: legacy_h5_format.load_attributes_from_hdf5_group(file[n], "weight_names") for n in names
        }
        return [(n, [(w, list(file[n][w].shape)) for w in weights[n]]) for n in names]


def main() -> None:
    keras.config.set_floatx("float64")
    model = keras.applications.InceptionV3(weights=None, classifier_activation=None)
    for layer in model.layers:
        layer.set_weights([keras_tensor(f"{layer.name}/{v.name}", v.shape) for v in layer.weights])
    cuts = STEM | MIXED | TOP
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in cuts.values()])
    pixels = keras.applications.inception_v3.preprocess_input(images().astype(np.float64))
    with torch.inference_mode():
        values = [value.cpu().numpy() for value in outputs(pixels, training=False)]
    # (N, H, W, C) to (N, C, H, W)
    planes = [value.transpose(0, 3, 1, 2) if value.ndim == 4 else value for value in values]
    write(
        FOLDER / "keras.npz",
        dict(zip(cuts, planes, strict=True)),
        layers=listing(model),
        keras=keras.__version__,
    )


if __name__ == "__main__":
    main()

"""A small network as Keras writes it into its legacy HDF5 format, and what it computes.

Other layers were made before its own, so their numbers do not begin at 0, and its file lists them in another order than
their numbers: by depth. One batch norm has a scale, the others have none.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import torch
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

from scripts.golden.seeded import FOLDER, images, keras_tensor


def network() -> keras.Model:
    def conv(x: keras.KerasTensor, filters: int, kernel: int, scale: bool = False) -> keras.KerasTensor:
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        return layers.Activation("relu")(layers.BatchNormalization(scale=scale)(x))

    conv(layers.Input((8, 8, 3)), 2, 1)  # takes the first numbers
    image = layers.Input((8, 8, 3))
    one = conv(image, 4, 1, scale=True)
    three = conv(image, 3, 1)
    three = conv(three, 5, 3)
    pooled = conv(layers.AveragePooling2D(3, 1, padding="same")(image), 2, 1)
    x = layers.GlobalAveragePooling2D()(layers.concatenate([one, three, pooled]))
    return keras.Model(image, layers.Dense(6, name="predictions")(x))


def main() -> None:
    model = network()
    for layer in model.layers:
        layer.set_weights([keras_tensor(f"{layer.name}/{v.name}", v.shape) for v in layer.weights])
    with h5py.File(FOLDER / "tiny_keras.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        print(list(legacy_h5_format.load_attributes_from_hdf5_group(file, "layer_names")))
    model.save(FOLDER / "tiny_keras_whole.h5")
    model.save_weights(FOLDER / "tiny_keras3.weights.h5")
    with torch.inference_mode():
        pixels = keras.applications.inception_v3.preprocess_input(images(8).astype(np.float32))
        logits = model(pixels, training=False).cpu().numpy()
    np.savez(FOLDER / "tiny_keras.npz", logits=logits)


if __name__ == "__main__":
    main()

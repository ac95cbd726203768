"""Exports one network of keras.applications as Keras itself does it, and writes down what it says.

    python -m benchmarks.architectures.export_keras FOLDER keras_NAME    # needs tensorflow-cpu, keras 3, tf2onnx; torch

Weights are random, scales and statistics such as training leaves, inputs small; the networks end in their softmax. The
files are those of `export_torch`, and NAME.keras.onnx, by TensorFlow and tf2onnx; where that has no words for an
operator, by Keras on PyTorch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import onnx
import tensorflow as tf

from benchmarks.architectures.networks import KERAS, KERAS_SIDES, SIDE
from benchmarks.architectures.references import NUDGES, grad_cams, two_images

# What `preprocess_input` makes of R, G, B, as (x / 255 - mean) / deviation, and which channel comes first. Those that
# are not here take 0..255.
_TF = ([0.5] * 3, [0.5] * 3, "rgb")
_TORCH = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "rgb")
_CAFFE = ([123.68 / 255, 116.779 / 255, 103.939 / 255], [1 / 255] * 3, "bgr")
_BYTES = ([0.0] * 3, [1 / 255] * 3, "rgb")
PREPARED = {
    "MobileNetV2": _TF, "InceptionV3": _TF, "Xception": _TF, "NASNetMobile": _TF, "ResNet50V2": _TF,
    "DenseNet121": _TORCH, "ResNet50": _CAFFE, "VGG16": _CAFFE,
}  # fmt: skip


def networks(name: str, side: int) -> tuple[Any, Any]:
    """The network with the random weights of seed 0, as it is exported, and up to its logits."""
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    whole, bare = (
        make(weights=None, input_shape=(side, side, 3), classifier_activation=activation)
        for activation in ("softmax", None)
    )
    enliven(whole, side)
    bare.set_weights(whole.get_weights())
    return whole, bare


def enliven(model: Any, side: int) -> None:
    """Give it scales, shifts and statistics as after training; those of the beginning, 1 and 0, hide errors."""
    dice = np.random.default_rng(1)
    layers = list(model._flatten_layers(include_self=False))
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        for weight in layer.trainable_weights:
            if len(weight.shape) == 1:
                middle = 0.0 if weight.name in ("bias", "beta") else 1.0
                weight.assign(middle + 0.1 * dice.standard_normal(weight.shape))
    for norm in norms:
        norm.momentum = 0.0
    for layer in layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    soft = dice.uniform(-1.8, 1.8, (16, 8, 8, 3)).astype(np.float32)
    x = tf.image.resize(soft, (side, side), method="bicubic")
    takes_bytes = any(
        isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in layers
    )
    model((x + 2) * 64 if takes_bytes else x, training=True)
    for norm in norms:
        floor = 0.05 * tf.reduce_mean(norm.moving_variance)
        norm.moving_variance.assign(tf.maximum(norm.moving_variance, floor))


def references(model: Any, name: str, side: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What the network says of two images, and its Grad-CAM maps of the first."""
    mean, std, channels = PREPARED.get(name, _BYTES)
    images = two_images(side)
    scaled = ((images / np.float32(255) - mean) / std).astype(np.float32)
    scaled = scaled[..., ::-1] if channels == "bgr" else scaled
    module = sys.modules[getattr(keras.applications, name).__module__]
    np.testing.assert_allclose(
        scaled, module.preprocess_input(images.astype(np.float32)), rtol=1e-3, atol=1e-3
    )
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    tensors = [each.output for each in model.operations[1:]]  # layers, and what is computed between them
    every = keras.Model(model.inputs, [model.output, last.input, *tensors])

    @tf.function
    def slopes(x: Any, best: int) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits, read, *inner = every(x, training=False)
            goal = logits[0, best]
        wanted = [each for each in inner if len(each.shape) in (3, 4)]
        return logits, read, wanted, tape.gradient(goal, [x, *wanted])

    logits, read, *_ = every(scaled, training=False)
    best = int(np.argmax(logits[0]))
    _, _, inner, (pixels, *inner_slopes) = slopes(tf.constant(scaled[:1]), best)
    names = [tensor.name for tensor in tensors if len(tensor.shape) in (3, 4)]
    maps = [
        grad_cams(label, value[0].numpy(), slope[0].numpy())
        for label, value, slope in zip(names, inner, inner_slopes, strict=True)
        if slope is not None
    ]
    read = read.numpy()
    dice = np.random.default_rng(2)
    nudged = []
    for size in NUDGES:
        near = scaled[:1] * (1 + size * dice.standard_normal(scaled[:1].shape)).astype(np.float32)
        nudged.append(slopes(tf.constant(near), best)[3][0][0].numpy())
    arrays = {
        "images": images, "logits": logits.numpy(), "features": read.mean((1, 2)) if read.ndim == 4 else read,
        "slopes": np.stack([pixels[0].numpy(), *nudged]),
    }  # fmt: skip
    about = {"side": side, "best": best, "mean": mean, "std": std, "channels": channels, "maps": maps}
    return arrays, about


def main() -> None:
    """Export what is named."""
    folder, name = sys.argv[1:]
    short = name.removeprefix("keras_")
    assert name in KERAS
    side = KERAS_SIDES.get(name, SIDE)
    whole, bare = networks(short, side)
    arrays, about = references(bare, short, side)
    stem = Path(folder) / name
    path, weights = Path(f"{stem}.keras.onnx"), Path(f"{stem}.weights.h5")
    whole(np.zeros((1, side, side, 3), np.float32))
    whole.export(str(path), format="onnx", verbose=False)
    operators = {node.op_type for node in onnx.load(path).graph.node if node.domain == ""}
    unknown = operators - {schema.name for schema in onnx.defs.get_all_schemas()}
    if unknown:  # Keras says so in passing, and writes a file that nothing loads
        path.unlink()
        whole.save_weights(weights)
        command = [
            sys.executable,
            "-m",
            "benchmarks.architectures.export_keras_torch",
            str(path),
            short,
            str(side),
        ]
        subprocess.run([*command, str(weights)], check=True, env=os.environ | {"KERAS_BACKEND": "torch"})
        weights.unlink()
    np.savez(f"{stem}.npz", **arrays)
    about["by"] = "PyTorch" if unknown else "TensorFlow"
    Path(f"{stem}.json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main()

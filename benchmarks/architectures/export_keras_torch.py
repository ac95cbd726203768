"""Exports a network of keras.applications with PyTorch below Keras; `export_keras` starts it.

KERAS_BACKEND=torch python -m benchmarks.architectures.export_keras_torch FILE NAME SIDE WEIGHTS
"""

from __future__ import annotations

import sys

import keras
import numpy as np


def main() -> None:
    """Export what is named, with the weights that another backend has written."""
    path, name, side, weights = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))
    model.load_weights(weights)
    model(np.zeros((1, side, side, 3), np.float32))
    # With a free batch PyTorch's exporter fails at a layer norm.
    one = keras.InputSpec(shape=(1, side, side, 3), dtype="float32", name="x")
    model.export(path, format="onnx", verbose=False, input_signature=[one])


if __name__ == "__main__":
    main()

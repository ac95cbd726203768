"""What Triton's Python backend runs: photos in, the five best classes out."""

from __future__ import annotations

import os
import sys

# The stub's interpreter knows no virtual environment.
sys.path[:0] = os.environ["SERVED_PACKAGES"].split(":")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as utils  # noqa: E402
from photo import prepared  # noqa: E402


class TritonPythonModel:
    """One instance; Triton gathers requests into a batch."""

    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        self.session = onnxruntime.InferenceSession(
            os.environ["SERVED_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        _, self.height, self.width, _ = self.session.get_inputs()[0].shape

    def execute(self, requests: list[object]) -> list[object]:
        counts, pixels = [], []
        for request in requests:
            photos = utils.get_input_tensor_by_name(request, "image").as_numpy()
            counts.append(len(photos))
            pixels += [prepared(photo[0], self.width, self.height) for photo in photos]
        rows = self.session.run(["probabilities"], {"image": np.stack(pixels)})[0]
        best = np.argsort(-rows, axis=1)[:, :5]
        parts = np.split(best, np.cumsum(counts)[:-1])
        return [utils.InferenceResponse([utils.Tensor("classes", part.astype(np.int64))]) for part in parts]

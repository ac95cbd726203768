"""The network behind LitServe, as its documentation does it: base64 in JSON, decoded in the worker, batches of eight.

python litserve_app.py MODEL.onnx PORT
"""

from __future__ import annotations

import base64
import sys

import litserve
import numpy as np
import onnxruntime
from photo import prepared


class Classifier(litserve.LitAPI):
    """`MODEL` is a file that Graft wrote: uint8 (N, H, W, 3) in, `probabilities` out."""

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        _, self.height, self.width, _ = self.session.get_inputs()[0].shape

    def decode_request(self, request: dict[str, str]) -> np.ndarray:
        return prepared(base64.b64decode(request["image"]), self.width, self.height)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        batch = batch if batch.ndim == 4 else batch[None]
        return self.session.run(["probabilities"], {"image": batch})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, list[float]]:
        row = output if output.ndim == 1 else output[0]
        best = np.argsort(-row)[:5]
        return {"classes": best.tolist(), "probabilities": row[best].tolist()}


if __name__ == "__main__":
    api = Classifier(max_batch_size=8, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[2]), generate_client_file=False, log_level="error"
    )

"""The network behind MLServer with adaptive batching: a runtime of one's own, as its documentation does it."""

from __future__ import annotations

import base64
import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from photo import prepared


class Classifier(MLModel):
    """Takes BYTES (base64 of JPEG) and gives the probabilities."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        self._session = onnxruntime.InferenceSession(
            os.environ["SERVED_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        _, self._height, self._width, _ = self._session.get_inputs()[0].shape
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = [
            prepared(base64.b64decode(data), self._width, self._height) for data in payload.inputs[0].data
        ]
        rows = self._session.run(["probabilities"], {"image": np.stack(images)})[0]
        best = np.argsort(-rows, axis=1)[:, :5]
        output = ResponseOutput(
            name="classes", shape=list(best.shape), datatype="INT64", data=best.ravel().tolist()
        )
        return InferenceResponse(model_name=self.name, outputs=[output])

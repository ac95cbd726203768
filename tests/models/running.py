"""Runs ONNX models in tests."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort

from models.architectures.blueprint import Blueprint


def small_network(classes: int = 6, size: int = 8) -> Blueprint:
    """A blueprint with every operation once; it is the network of `scripts/golden/keras_file.py`."""
    b = Blueprint((size, size), batch_norm_epsilon=1e-3)
    one = b.conv(b.INPUT, "one", 4)
    three = b.conv(b.INPUT, "three_1", 3)
    three = b.conv(three, "three_2", 5, 3)
    pooled = b.conv(b.avg_pool(b.INPUT, "avg_pool", 3, 1, 1), "pool_1", 2)
    x = b.cut(b.concat([one, three, pooled], "block"), "mixed")
    x = b.cut(b.global_pool(x, "mean"), "pool")
    b.cut(b.dense(b.dropout(x, "dropout", 0.5), "fc", classes), "logits")
    return b


def run(model: onnx.ModelProto, images: np.ndarray, cuts: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Outputs of a model, and the tensors named in `cuts`, by name."""
    fetched = onnx.ModelProto()
    fetched.CopyFrom(model)
    outputs = {value.name for value in fetched.graph.output}
    fetched.graph.output.extend(onnx.ValueInfoProto(name=cut) for cut in cuts if cut not in outputs)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a busy machine waits for it
    session = ort.InferenceSession(fetched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images}), strict=True))

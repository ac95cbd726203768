"""What changes the answers to the inputs that a file carries, and by how much: docs/watching.md has the figures.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.stored_inputs [MODEL ...]

Without optimisations onnxruntime computes with other kernels, in another order. TF32 is imitated: all weights are
rounded to 10 bits, those that are stored in float16 have no more. In each draw one filter of one convolution is set to
zero, and its effect is looked for among the stored inputs and among as many photos of clothing_10.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from PIL import Image

from benchmarks.timing import table
from feature_extraction.items import read_item
from finetune.dataset.opening import open_split
from models.card import read_card
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.proof import IMAGES, TOLERANCES, differences, kept
from models.proof_making import write_proof
from models.quantization import quantize
from models.runtime import RuntimeConfig
from models.serialized import session_of

CPU = RuntimeConfig("cpu")
DRAWS, CALIBRATION = 30, 64
NOTICED = 10 * TOLERANCES["float32"]
_DROPPED = 23 - 10  # bits of a float32's fraction that TF32 has not


def main() -> None:
    models = sys.argv[1:] or [
        "builtin",
        os.path.join(os.environ["GRAFT_MODELS"], "mobilenet_v2_1.0_224.onnx"),
    ]
    photos = clothes(CALIBRATION)
    header = ["network", "other kernels", "TF32", "int8, other kernels", "a filter lost: median"]
    header += [f"noticed by {what}, of {DRAWS}" for what in ("stored inputs", f"{IMAGES} photos")]
    print(table(header, [[Path(model).stem, *measured(model, photos)] for model in models]))


def clothes(count: int) -> list[Image.Image]:
    folder = os.path.join(os.environ["GRAFT_DATA"], "clothing_10")
    examples = open_split(folder, "test").examples
    places = np.random.default_rng(0).choice(len(examples), count, replace=False)
    contents = [read_item(examples[place].item) for place in places]
    return [
        Image.open(io.BytesIO(content)).convert("RGB") for content in contents if isinstance(content, bytes)
    ]


def measured(name: str, photos: list[Image.Image]) -> list[str]:
    proto, _ = as_graft_model(locate(name))
    proof = write_proof(proto)
    model = opened(proto)
    pixels = [model.decode(photo) for photo in photos]
    inputs = {
        "stored": proof.images(model.card.preprocessing.size),
        "photos": np.stack(pixels[:IMAGES]),
    }
    expected = {what: answers(proto, images) for what, images in inputs.items()}

    def effect(other: ModelProto, what: str) -> float:
        pairs = zip(answers(other, inputs[what]), expected[what], strict=True)
        return max(float(differences(got, wanted).max()) for got, wanted in pairs)

    broken = (without_a_filter(proto, seed) for seed in range(DRAWS))
    lost = np.array([[effect(other, what) for what in inputs] for other in broken])
    rounding = [
        proof.rounding,
        effect(rounded(proto), "stored"),
        write_proof(quantize(proto, pixels)).rounding,
    ]
    counts = (lost > NOTICED).sum(axis=0)
    return [f"{value:.1e}" for value in (*rounding, np.median(lost[:, 0]))] + [str(count) for count in counts]


def opened(proto: ModelProto) -> Model:
    session = session_of(proto, CPU)
    card = read_card(session.metadata)
    assert card is not None
    return Model(session, card)


def answers(proto: ModelProto, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    return [kept(values) for values in opened(proto).run(images)]


def rounded(proto: ModelProto) -> ModelProto:
    """A copy whose float32 weights have 10 bits of their fraction, rounded to the nearest."""
    other = copied(proto)
    for weight in other.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            bits = np.atleast_1d(numpy_helper.to_array(weight)).view(np.uint32).astype(np.uint64)
            nearest = ((bits + (1 << (_DROPPED - 1))) >> _DROPPED << _DROPPED).astype(np.uint32)
            values = nearest.view(np.float32).reshape(tuple(weight.dims))
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return other


def without_a_filter(proto: ModelProto, seed: int) -> ModelProto:
    """A copy in which one filter of one convolution, drawn at random, is zero."""
    other, random = copied(proto), np.random.default_rng(seed)
    sources = {node.output[0]: node.input[0] for node in other.graph.node if node.op_type == "Cast"}
    names = [sources.get(node.input[1], node.input[1]) for node in other.graph.node if node.op_type == "Conv"]
    name = names[random.integers(len(names))]
    (weight,) = (one for one in other.graph.initializer if one.name == name)
    values = numpy_helper.to_array(weight).copy()
    values[random.integers(len(values))] = 0
    weight.CopyFrom(numpy_helper.from_array(values, name))
    return other


def copied(proto: ModelProto) -> ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    return other


if __name__ == "__main__":
    main()

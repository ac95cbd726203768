"""Gives a network stored inputs and its answers to them; see `models.proof`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from models.card import read_card
from models.errors import GraftError, ModelError, NumericsError
from models.metadata import PROOF, drop_entries, put_entry
from models.model import Model
from models.proof import IMAGES, MEANINGLESS, SIDE, Precision, StoredProof, differences, kept
from models.runtime import RuntimeConfig
from models.serialized import bytes_if_small, session_of


def write_proof(model: ModelProto) -> StoredProof:
    """Run the inputs through a finished network with a card, and put them with its answers into its metadata.

    Each of two sessions runs on one core of the CPU: equal networks get equal bytes on a machine, whatever else it
    has.

    Raises:
        ModelError: no card, onnxruntime refuses the network, or answers that change with the order of computing.
        NumericsError: it answers with NaN or infinity.
    """
    drop_entries(model, (PROOF,))
    network = bytes_if_small(model)
    with ThreadPoolExecutor(1) as beside:
        others = beside.submit(_answers, network, optimized=False)
        numbers, inputs = _answers(network, optimized=True)
    if bad := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        raise NumericsError(f"the network answers with NaN or infinity in {', '.join(bad)}.")
    reordered, _ = others.result()
    rounding = max(float(differences(reordered[name], values).max()) for name, values in numbers.items())
    proof = StoredProof(inputs, numbers, precision_of(model), rounding)
    if proof.tolerance("cpu") > MEANINGLESS:
        raise ModelError(
            f"the network magnifies rounding: computed in another order its answers differ by {rounding:.2g}, so that "
            "nothing can be told by them."
        )
    put_entry(model, PROOF, proof.to_json())
    return proof


def _answers(
    network: ModelProto | bytes, *, optimized: bool
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8]]:
    """What a network gives for the inputs, on one core of the CPU, and the inputs."""
    session = session_of(network, RuntimeConfig("cpu", 1, optimized=optimized))
    card = read_card(session.metadata)
    if card is None:
        raise ModelError("a network without a card has no size for stored inputs. Import it first.")
    size = card.preprocessing.size
    inputs = _patterns(size)
    answers = Model(session, card).run(StoredProof(inputs, {}, "float32", 0.0).images(size))
    return {name: kept(v) for name, v in zip(session.outputs, answers, strict=True)}, inputs


def try_to_write_proof(model: ModelProto) -> str:
    """`write_proof`, where the file is of use without; returns why there is none, or "" where there is one."""
    try:
        write_proof(model)
    except (GraftError, ValueError) as exc:  # outputs that are no tensors with a row for each image
        return f"no stored inputs: {exc} Another machine will not notice if it computes differently."
    return ""


def precision_of(model: ModelProto) -> Precision:
    """The coarsest numbers that a network computes with."""
    if any("Quantize" in node.op_type or "Integer" in node.op_type for node in model.graph.node):
        return "int8"
    half = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    stored = {weight.name for weight in model.graph.initializer if weight.data_type in half}
    for node in model.graph.node:
        if node.op_type == "Cast":  # from half precision, what is stored so and used in float32
            if any(one.name == "to" and one.i in half for one in node.attribute):
                return "float16"
        elif stored.intersection(node.input):
            return "float16"
    return "float32"


def _patterns(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Coloured noise of all coarsenesses, as photos have it, uint8 (8, h, w, 3); the same for a size."""
    height, width = (min(SIDE, side) for side in size)
    random = np.random.default_rng(0)
    total = np.zeros((IMAGES, height, width, 3))
    for cell in (1, 2, 4, 8, 16, 32):  # amplitudes grow with their size, as 1/f
        grid = random.normal(size=(IMAGES, -(-height // cell), -(-width // cell), 3))
        total += np.sqrt(cell) * grid.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
    brightness = random.uniform(64, 192, (IMAGES, 1, 1, 3))
    contrast = random.uniform(6, 24, (IMAGES, 1, 1, 1))
    return np.asarray((brightness + contrast * total).clip(0, 255).round(), np.uint8)

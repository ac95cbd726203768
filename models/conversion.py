"""From a row of the zoo and a file of weights to a finished model file."""

from __future__ import annotations

from pathlib import Path

from models.architectures.blueprint import Blueprint
from models.build import build
from models.card import Cut, ModelCard, write_card
from models.files import sha256, write_atomically
from models.labels import imagenet_labels
from models.store import CACHE_ADVICE
from models.weights import read
from models.weights.random import random_weights
from models.zoo import ZooRow

RANDOM_SEED = 0


def convert_weights(row: ZooRow, weights: Path | None) -> Path:
    """Build the ONNX file of `row` and put it in place; `weights` None means seeded random ones.

    Raises:
        WeightsError: the weights do not fit.
        OutputError: the file cannot be written.
    """
    blueprint = row.architecture()
    tensors = random_weights(blueprint, RANDOM_SEED) if weights is None else read(weights, blueprint)
    card = ModelCard(
        name=row.name,
        task="classification",
        preprocessing=row.preprocessing,
        normalization=row.normalization,
        labels=imagenet_labels(),
        cuts=cut_points(blueprint),
        licence=row.licence,
        source=row.url or row.source,
        weights_sha256="" if weights is None else sha256(weights),
        description=row.description,
        accuracy=row.accuracy,
    )
    model = build(blueprint, tensors, mean=row.normalization.mean, std=row.normalization.std, name=row.name)
    write_card(model, card)
    write_atomically(row.file, model.SerializeToString(), advice=CACHE_ADVICE)
    return row.file


def cut_points(blueprint: Blueprint) -> tuple[Cut, ...]:
    """The cut points of a blueprint as the card lists them."""
    return tuple(Cut(name, blueprint.shape(layer)) for name, layer in blueprint.cuts.items())

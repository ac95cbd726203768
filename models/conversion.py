"""From a row of the zoo and a file of weights to a finished model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from onnx import ModelProto

from models.architectures.blueprint import Blueprint
from models.build import build
from models.card import Cut, ModelCard, card_of, write_card
from models.errors import WeightsError
from models.files import sha256, write_atomically
from models.import_options import ImportOptions
from models.importing import import_model
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
        ModelError: what should be an ONNX network is none.
        OutputError: the file cannot be written.
    """
    if row.architecture is None and weights is not None:
        model, card = _imported(row, weights)
    else:
        model, card = _built(row, weights)
    write_card(model, card)
    write_atomically(row.file, model.SerializeToString(), advice=CACHE_ADVICE)
    return row.file


def _built(row: ZooRow, weights: Path | None) -> tuple[ModelProto, ModelCard]:
    """A network of our own architecture code."""
    if row.architecture is None:
        raise WeightsError(f"{row.name}: needs its ONNX file. Download it, or name it with --file.")
    blueprint = row.architecture()
    tensors = random_weights(blueprint, RANDOM_SEED) if weights is None else read(weights, blueprint)
    card = ModelCard(
        row.name, "classification", row.preprocessing, labels=imagenet_labels(), cuts=cut_points(blueprint)
    )
    model = build(blueprint, tensors, mean=row.normalization.mean, std=row.normalization.std, name=row.name)
    return model, _described(card, row, weights)


def _imported(row: ZooRow, network: Path) -> tuple[ModelProto, ModelCard]:
    """A network that was published as ONNX; nothing about it is guessed."""
    how = row.preprocessing
    options = ImportOptions(
        name=row.name,
        labels=imagenet_labels(),
        task="classify",
        size=how.size,
        resize=how.resize,
        resize_to=how.resize_to,
        crop_fraction=how.crop_fraction,
        interpolation=how.interpolation,
        scale=row.normalization,
        channels="rgb",
        layout=row.layout,
    )
    model, _ = import_model(network, options)
    card = card_of(model, str(network))
    if card is None:
        raise WeightsError(f"{network}: was imported without a card.")
    return model, _described(card, row, network)


def _described(card: ModelCard, row: ZooRow, weights: Path | None) -> ModelCard:
    """The card with what the row knows beside the network."""
    return dataclasses.replace(
        card,
        normalization=row.normalization,
        licence=row.licence,
        source=row.url or row.source,
        weights_sha256="" if weights is None else sha256(weights),
        description=row.description,
        accuracy=row.accuracy,
    )


def cut_points(blueprint: Blueprint) -> tuple[Cut, ...]:
    """The cut points of a blueprint as the card lists them."""
    return tuple(Cut(name, blueprint.shape(layer)) for name, layer in blueprint.cuts.items())

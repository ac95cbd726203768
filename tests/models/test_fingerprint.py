"""Digests change with what is computed, and with nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, load
from PIL import Image

from models.fingerprint import graph_digests, image_digest, preprocessing_digest
from models.graph import rename
from models.preprocessing import Preprocessing
from models.truncation import cut_model


@pytest.fixture
def model(tiny_path: Path) -> ModelProto:
    return load(tiny_path)


def pool(model: ModelProto) -> str:
    return graph_digests(model, ["pool"])[0]


def test_names_metadata_and_what_lies_behind_do_not_count(model: ModelProto) -> None:
    before = pool(model)
    assert pool(cut_model(model, ["pool"])) == before
    rename(model.graph, "scaled", "other")
    rename(model.graph, "white", "bright")
    model.metadata_props[0].value = model.metadata_props[0].value.replace("for tests", "changed")
    model.graph.node[0].doc_string = "changed"
    model.graph.initializer[2].float_data[0] = 99.0  # of the head, behind the cut
    assert pool(model) == before


@pytest.mark.parametrize("change", ["weight", "attribute", "operation", "opset", "size"])
def test_what_is_computed_counts(model: ModelProto, change: str) -> None:
    before = pool(model)
    graph = model.graph
    if change == "weight":
        graph.initializer[0].float_data[0] = 254.0
    elif change == "attribute":
        graph.node[2].attribute[0].i = 1
    elif change == "operation":
        graph.node[1].op_type = "Mul"
    elif change == "opset":
        model.opset_import[0].CopyFrom(helper.make_opsetid("", 20))
    else:
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 17
    assert pool(model) != before


def test_batch_size_does_not_count(model: ModelProto) -> None:
    before = pool(model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    assert pool(model) == before


def test_inputs_have_an_order(model: ModelProto) -> None:
    before = pool(model)
    div = model.graph.node[1]
    div.input[0], div.input[1] = div.input[1], div.input[0]
    assert pool(model) != before


def test_preprocessing_counts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Preprocessing((4, 4), "squash")
    digests = {
        preprocessing_digest(one),
        preprocessing_digest(one, exact=True),
        preprocessing_digest(Preprocessing((4, 4))),
        preprocessing_digest(Preprocessing((4, 4), "squash", interpolation="bicubic")),
    }
    assert preprocessing_digest(Preprocessing((4, 4), "pad")) != preprocessing_digest(
        Preprocessing((4, 4), "pad", pad_value=1)
    )
    monkeypatch.setattr("models.fingerprint.pillow_version", "0.1")
    assert len(digests | {preprocessing_digest(one)}) == 5
    assert preprocessing_digest(one) == preprocessing_digest(Preprocessing((4, 4), "squash"))


def test_images_are_told_apart() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    things = [b"", b"0", pixels, pixels + 1, pixels.reshape(6, 4, 3), Image.fromarray(pixels), turned]
    assert len({image_digest(thing) for thing in things}) == len(things)
    assert image_digest(pixels) == image_digest(pixels.copy())

"""The model card: there and back, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from models.card import (
    KEY,
    Accuracy,
    Cut,
    Label,
    ModelCard,
    Normalization,
    Regression,
    Reject,
    Splits,
    Target,
    read_card,
    write_card,
)
from models.errors import ModelError
from models.preprocessing import Preprocessing

CARD = ModelCard(
    name="birds ✓",
    task="classification",
    preprocessing=Preprocessing((64, 48), "shorter", 70, 0.9, "bicubic"),
    normalization=Normalization((0.5, 0.4, 0.3), (0.1, 0.2, 1.0)),
    labels=(
        Label("n02124075", "Egyptian cat"),
        Label("n02123045", "tabby, tabby cat"),
        Label("tabby", "mackerel"),
    ),
    cuts=(Cut("pool", (384,)), Cut("mixed", (-1, 8, 8))),
    accuracy=(Accuracy("birds", "val", 100, 0.5, None, "measured"), Accuracy("birds", "test", 10, 1.0, 1.0)),
    training={"seed": 1, "epochs": [1, 2]},
    temperature=1.5,
    batch_size=8,
)


def changed(**values: object) -> str:
    return json.dumps({**json.loads(CARD.to_json()), **values})


def test_card_comes_back_as_it_was() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


TUNED = dataclasses.replace(
    CARD,
    accuracy=(Accuracy("birds", "test", 100, 0.5, interval=(0.4, 0.6)),),
    reject=Reject(3.5, 0.95, 0.9, "by holding out classes", "relative", (0.8, 0.95)),
    splits=Splits(700, 150, 150),
)
# As earlier versions have it.
TUNED_BEFORE = dataclasses.replace(TUNED, reject=Reject(3.5, 0.95, 0.9, "by holding out classes", "relative"))
AGES = ModelCard(
    "ages",
    "regression",
    Preprocessing((4, 4)),
    target=Target("age", "years", 1.5, 0.9),
    regression=(Regression("faces", "test", 10, 4.0, 1.5, None),),
)


@pytest.mark.parametrize(
    ("card", "form"), [(TUNED_BEFORE, 2), (TUNED, 4), (AGES, 2)], ids=["before", "tuned", "ages"]
)
def test_card_of_a_fine_tuned_model_comes_back_as_it_was(card: ModelCard, form: int) -> None:
    assert ModelCard.from_json(card.to_json()) == card
    assert json.loads(card.to_json())["format"] == form  # earlier versions say: update graft


def test_an_interval_of_rejection_that_was_written_as_format_2_is_read() -> None:
    values = json.loads(TUNED.to_json()) | {"format": 2}
    assert ModelCard.from_json(json.dumps(values)) == TUNED


def test_format_1_is_written_where_it_can_hold_the_card() -> None:
    values = json.loads(CARD.to_json())
    assert values["format"] == 1
    assert not {"reject", "target", "splits", "regression"} & values.keys()
    assert "interval" not in values["accuracy"][0]
    assert "channels" not in values
    assert "pad_value" not in values["preprocessing"]


@pytest.mark.parametrize(
    "change", [{"reject": TUNED_BEFORE.reject}, {"splits": TUNED.splits}, {"accuracy": TUNED.accuracy}]
)
def test_any_newer_field_makes_a_card_of_format_2(change: dict[str, Any]) -> None:
    assert json.loads(dataclasses.replace(CARD, **change).to_json())["format"] == 2


@pytest.mark.parametrize(
    "change", [{"channels": "bgr"}, {"preprocessing": Preprocessing((8, 8), "pad", pad_value=114)}]
)
def test_what_earlier_versions_would_take_wrongly_makes_a_card_of_format_3(change: dict[str, Any]) -> None:
    card = dataclasses.replace(TUNED_BEFORE, **change)
    assert json.loads(card.to_json())["format"] == 3
    assert ModelCard.from_json(card.to_json()) == card


def test_thresholds_of_labels_make_a_card_of_format_4() -> None:
    card = dataclasses.replace(CARD, task="multilabel", thresholds=(0.5, 0.25, 0.125))
    assert json.loads(card.to_json())["format"] == 4
    assert ModelCard.from_json(card.to_json()) == card
    assert json.loads(dataclasses.replace(card, thresholds=()).to_json())["format"] == 3


def test_card_of_an_earlier_version_is_read() -> None:
    """It had a place for a threshold that nothing ever set."""
    assert ModelCard.from_json(changed(reject_threshold=None)) == CARD


def test_numbers_that_are_none_become_null_in_training_only() -> None:
    card = dataclasses.replace(CARD, training={"loss": [1.0, float("nan")], "best": {"rate": float("inf")}})
    assert ModelCard.from_json(card.to_json()).training == {"loss": [1.0, None], "best": {"rate": None}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(CARD, accuracy=(Accuracy("a", "b", 1, float("nan")),)).to_json()


def test_least_card_comes_back_as_it_was() -> None:
    least = ModelCard("x", "features", Preprocessing((1, 1)))
    assert ModelCard.from_json(least.to_json()) == least


def test_whole_numbers_may_stand_for_real_ones() -> None:
    text = changed(temperature=2, normalization={"mean": [0, 0, 0], "std": [1, 1, 1]})
    card = ModelCard.from_json(text)
    assert (card.temperature, card.normalization) == (2.0, Normalization())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "its model card cannot be read"),
        ("[]", "its model card cannot be read"),
        ("{}", "its model card cannot be read"),
        ("3", "its model card cannot be read"),
        (changed(format=5), "has format 5; this version reads 1 to 4. Update graft"),
        (changed(thresholds=[0.5]), r"thresholds are \(0.5,\) for 3 labels; expected one above 0"),
        (changed(thresholds=[0.5, 0.5, 1]), "expected one above 0 and below 1 for each"),
        (changed(colour="red"), "unknown fields colour"),
        (changed(task="detection"), "expected one of .*'classification'.*, got 'detection'"),
        (changed(name=5), "expected str, got 5"),
        (changed(labels=[{"id": "a"}]), "its model card is wrong"),
        (changed(labels=7), "its model card is wrong"),
        (changed(labels=None), "its model card is wrong"),
        (changed(preprocessing=None), "its model card is wrong"),
        (changed(preprocessing={"size": [0, 4]}), "at least 1 pixel"),
        (changed(preprocessing={"size": [4, 4, 4]}), "expected 2 values"),
        (changed(normalization={"mean": [0.5], "std": [1, 1, 1]}), "expected 3 values"),
        (changed(batch_size="8"), "expected int, got '8'"),
        (changed(batch_size=True), "expected int, got True"),
        (changed(batch_size=0), "batch_size is 0; expected 1 to"),
        (changed(batch_size=10**9), "batch_size is 1000000000; expected 1 to"),
        (changed(preprocessing={"size": [10**9, 4]}), "at most 8192"),
        (changed(training=7), "expected dict, got 7"),
        (changed(temperature=0), "temperature is 0.0; expected a finite number above 0"),
        ("[" * 100_000, "its model card cannot be read"),
        (changed(temperature=True), "expected float, got True"),
        (changed(reject_threshold=2.0), "unknown fields reject_threshold"),
        (
            changed(reject={"threshold": 1e999, "kept": 1}),
            "the reject threshold is inf; expected a finite number",
        ),
        (changed(reject={"kept": 1}), "missing 1 required positional argument"),
        (changed(target={"half_width": -1}), "half_width is -1.0; expected a finite number of at least 0"),
        (changed(splits={"train": 1.5, "val": 0, "test": 0}), "expected int, got 1.5"),
    ],
)
def test_what_is_no_card_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ModelError, match=rf"^my\.onnx: .*{reason}"):
        ModelCard.from_json(text, "my.onnx")


@pytest.mark.parametrize(
    ("key", "index"),
    [
        ("n02124075", 0),
        ("N02124075", 0),
        ("egyptian cat", 0),
        ("tabby, tabby cat", 1),
        ("mackerel", 2),
        ("fish", None),
    ],
)
def test_class_is_found_by_id_or_name(key: str, index: int | None) -> None:
    assert CARD.label(key) == index


def test_id_goes_before_name_where_one_word_is_both() -> None:
    assert CARD.label("tabby") == 2


def test_card_is_written_into_the_file_and_replaces_the_old_one(tiny_path: Path) -> None:
    model = onnx.load(tiny_path)
    model.metadata_props.add(key="author", value="someone")
    write_card(model, CARD)
    write_card(model, dataclasses.replace(CARD, name="second"))
    entries = [(entry.key, entry.value) for entry in model.metadata_props]
    assert [key for key, _ in entries] == ["author", KEY]
    assert read_card(dict(entries)) == dataclasses.replace(CARD, name="second")


def test_model_without_a_card_has_none() -> None:
    assert read_card({"author": "someone"}) is None

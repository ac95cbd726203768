"""Several labels of each image as a program has them: lists of them, or matrices of 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from feature_extraction.items import held_item
from finetune.dataset.given_labels import given_label_sets, labelled_images
from finetune.dataset.list_options import ListOptions
from finetune.dataset.tables import from_tables, tables_in
from models.errors import InputError, SourceError
from tests import optional
from tests.feature_extraction.test_tables import arrow, hugging, pandas, polars
from tests.fixtures import plain

MATRIX = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]])
IMAGES = [plain("red"), plain("blue"), plain("green")]


@pytest.mark.parametrize(
    "y", [MATRIX, MATRIX.astype(bool), MATRIX.astype(np.float32), csr_matrix(MATRIX)], ids=type
)
def test_a_matrix_has_a_column_for_each_label(y: Any) -> None:
    assert given_label_sets(y) == ([(0, 2), (), (1, 2)], (0, 1, 2))


def test_a_frame_names_its_columns() -> None:
    frame = optional.library("pandas", extra="tables").DataFrame(MATRIX, columns=["hat", "red", "old"])
    assert given_label_sets(frame) == ([("hat", "old"), (), ("red", "old")], ("hat", "red", "old"))


def test_lists_name_the_labels_that_hold() -> None:
    y = [["red", "hat", "red"], (), {"b", "a"}]
    assert given_label_sets(y) == ([("red", "hat"), (), ("a", "b")], None)
    assert given_label_sets(np.array([["hat"], ["hat", "red"]], object))[0] == [("hat",), ("hat", "red")]
    assert given_label_sets([[7, 9], [9]])[0] == [(7, 9), (9,)]


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        ([[0, 1], [1, 0]], r"may be the labels 0 and 1, or a column for each label\. Give np\.array\(y\)"),
        (["hat;red", "hat"], "the labels of image 0 are 'hat;red'; expected a list of them"),
        ([["hat"], None], "the labels of image 1 are None; expected a list"),
        ([["hat", ""]], "image 0 has the label ''; expected a text or a whole number"),
        ([["hat", float("nan")]], "image 0 has the label nan"),
        ([["hat"], ["red", "nan"]], "image 1 has the label 'nan', as programs write what is missing"),
        ([["hat"], [3]], "some labels are texts and others numbers"),
        (np.array([[0.5, 1]]), "hold more than 0 and 1"),
        (np.array([["hat", "red"]]), "hold more than 0 and 1"),
    ],
)
def test_what_is_ambiguous_or_no_label_is_refused(y: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        given_label_sets(y)


def test_images_go_with_their_labels() -> None:
    items = [held_item(image, str(i)) for i, image in enumerate(IMAGES)]
    dataset, names = labelled_images(items, [["hat", 'a "quoted"'], [], ["red"]])
    assert dataset.classes == ('a "quoted"', "hat", "red")
    assert [one.holding for one in dataset.examples] == [('a "quoted"', "hat"), (), ("red",)]
    assert labelled_images(items, MATRIX)[1] == {"0": 0, "1": 1, "2": 2}
    for y, reason in ((MATRIX[:2], "3 images have labels for 2"), (0 * MATRIX, "no image has a label")):
        with pytest.raises(InputError, match=reason):
            labelled_images(items, y)
    assert names["hat"] == "hat"


def test_columns_that_cannot_be_told_apart_or_are_empty_are_refused() -> None:
    frame = optional.library("pandas", extra="tables").DataFrame
    for names in (["a", "a"], [1, "1"]):
        with pytest.raises(
            InputError, match=f"several columns are called {names[0]}; expected a name for each"
        ):
            given_label_sets(frame([[1, 0], [0, 1]], columns=names))
    with pytest.raises(InputError, match="hold more than 0 and 1"):
        given_label_sets(frame({"a": [True, None]}).astype("boolean"))


def test_labels_that_never_hold_and_bare_images_are_said() -> None:
    items = [held_item(image, str(i)) for i, image in enumerate(IMAGES)]
    notes = " ".join(labelled_images(items, MATRIX * [1, 0, 1])[0].notes)
    assert "no image has a 1 in 1: not learned" in notes
    assert "1 image with no label, taken for" in notes
    table = arrow({"image": IMAGES, "hat": [1, 0, 1], "red": [0, 0, 0]})
    notes = " ".join(from_tables(tables_in(table), "multilabel", ListOptions())[0].notes)
    assert "no image has a 1 in red: not learned" in notes
    assert "1 image with no label, taken for" in notes


@pytest.mark.parametrize("kind", [pandas, polars, arrow, hugging])
@pytest.mark.parametrize(
    "columns",
    [
        {"labels": [["hat", "red"], [], ["red"]]},
        {"labels": ["hat;red", "", "red"]},
        {"hat": [1, 0, 0], "red": [1, 0, 1]},
    ],
    ids=["lists", "texts", "one-hot"],
)
def test_tables_have_several_labels(kind: Any, columns: dict[str, list[Any]]) -> None:
    tables = tables_in(kind({"image": IMAGES, **columns}))
    dataset, names = from_tables(tables, "multilabel", ListOptions())
    assert [one.holding for one in dataset.examples] == [("hat", "red"), (), ("red",)]
    assert list(names) == ["hat", "red"]


def test_a_table_without_labels_is_refused() -> None:
    table = arrow({"image": IMAGES, "labels": ["", "", ""]})
    with pytest.raises(SourceError, match="no row has a label"):
        from_tables(tables_in(table), "multilabel", ListOptions())
    with pytest.raises(
        SourceError, match="no column that is known to hold labels; its columns are image, size"
    ):
        from_tables(tables_in(arrow({"image": IMAGES, "size": [3, 4, 5]})), "multilabel", ListOptions())

"""Labelled tables that a program holds, and labels beside images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feature_extraction.tables import Table
from finetune.dataset.examples import Dataset
from finetune.dataset.given_labels import given_labels
from finetune.dataset.list_options import ListOptions
from finetune.dataset.tables import from_tables, tables_in
from models.errors import InputError, SourceError
from tests import optional
from tests.feature_extraction.test_tables import arrow, hugging, pandas, polars
from tests.fixtures import plain

IMAGES = [plain("red"), plain("blue"), plain("green")]


def opened(source: Any, task: Any = "classification", **lists: str) -> tuple[Dataset, dict[str, Any]]:
    return from_tables(tables_in(source), task, ListOptions(**lists))


@pytest.mark.parametrize("kind", [pandas, polars, arrow, hugging])
def test_columns_are_those_of_lists(kind: Any) -> None:
    columns = {"image": IMAGES, "Label": ["b", "a", "b"], "split": ["train", "val", "test"]}
    dataset, names = opened(kind(columns))
    assert names == {"a": "a", "b": "b"}
    assert [one.label for one in dataset.examples] == ["b", "a", "b"]
    assert [one.split for one in dataset.examples] == ["train", "val", "test"]
    assert [one.item.read() for one in dataset.examples] == IMAGES
    dataset, names = opened(kind({"image": IMAGES, "x": [2, 1, 2]}), label_column="x")
    assert names == {"1": 1, "2": 2}
    dataset, _ = opened(kind({"image": IMAGES, "target": [0.5, 1.5, 2.5]}), "regression")
    assert [one.target for one in dataset.examples] == [0.5, 1.5, 2.5]


def test_hugging_face_brings_names_and_splits() -> None:
    datasets = optional.library("datasets", extra="tables")
    features = datasets.Features(
        {"image": datasets.Value("binary"), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    part = datasets.Dataset.from_dict({"image": IMAGES, "label": [1, 0, 1]}, features)
    dataset, names = opened(datasets.DatasetDict({"train": part, "validation": part}))
    assert names == {"cat": "cat", "dog": "dog"}
    assert [one.split for one in dataset.examples] == ["train"] * 3 + ["val"] * 3
    assert len({one.key for one in dataset.examples}) == 6
    with pytest.raises(SourceError, match="a dictionary of tables has train, unsupervised; expected train"):
        tables_in(datasets.DatasetDict({"train": part, "unsupervised": part}))
    hidden = datasets.Dataset.from_dict({"image": IMAGES, "label": [-1, 0, 1]}, features)
    with pytest.raises(SourceError, match=r"row 0: label is -1, which has no name among 2"):
        opened(hidden)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["a", None, "b"], "row 1: the column label is empty"),
        (["a", "", "b"], "row 1: the column label is empty"),
        ([["a"], ["a", "b"], ["b"]], r"row 0: label is \['a'\]; expected one class"),
    ],
)
def test_cells_that_are_no_label(labels: list[Any], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        opened(arrow({"image": IMAGES, "label": labels}))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["a", 1, "b"], "some labels are texts and others numbers"),
        (["a", "nan", "b"], "row 1: label is 'nan', as programs write what is missing"),
        ([np.array([1, 2]), 1, 2], r"row 0: label is \[1 2\]; expected one class"),
    ],
)
def test_objects_that_are_no_label(labels: list[Any], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        opened(pandas({"image": IMAGES, "label": labels}))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pandas_own_missing_value_is_refused_with_its_row(task: Any) -> None:
    frame = pandas({"image": IMAGES, "label": ["1", None, "2"]})
    for kind in ("string", "object", "category"):
        with pytest.raises(SourceError, match=r"row 1: (the column label is empty|label is (<NA>|None|nan))"):
            opened(frame.astype({"label": kind}), task)


@pytest.mark.parametrize("kind", [pandas, polars, arrow, hugging])
def test_groups_and_splits_are_read_however_their_columns_are_written(kind: Any) -> None:
    columns = {
        "image": IMAGES,
        "label": ["b", "a", "b"],
        "Group": ["p1", None, "p1"],
        "Split": ["train", "val", "test"],
    }
    dataset, _ = opened(kind(columns))
    assert [one.group for one in dataset.examples] == ["p1", None, "p1"]
    assert [one.split for one in dataset.examples] == ["train", "val", "test"]


def test_numbers_of_numpy_have_the_names_of_their_column() -> None:
    table = Table(
        "a table", ("image", "label"), 3, {"image": IMAGES, "label": list(np.array([1, 0, 1]))}.__getitem__,
        lambda row, name: IMAGES[row], lambda name: ["cat", "dog"] if name == "label" else None,
    )  # fmt: skip
    dataset, names = from_tables({None: table}, "classification", ListOptions())
    assert [one.label for one in dataset.examples] == ["dog", "cat", "dog"]
    assert names == {"cat": "cat", "dog": "dog"}


def test_equal_numbers_are_one_class() -> None:
    dataset, names = opened(pandas({"image": IMAGES, "label": np.array([1, 1.0, 2], object)}))
    assert [one.label for one in dataset.examples] == ["1", "1", "2"]
    assert names == {"1": 1, "2": 2}


def test_tables_of_two_kinds_are_one_dataset() -> None:
    part = {"image": IMAGES, "label": ["a", "b", "a"]}
    dataset, _ = opened({"train": pandas(part), "test": arrow(part)})
    assert (dataset.source, len(dataset.examples)) == ("a DataFrame, a table of Arrow", 6)


def test_options_for_files_are_refused() -> None:
    with pytest.raises(SourceError, match="allow_urls of `lists` is for lists in files"):
        from_tables(
            tables_in(arrow({"image": IMAGES, "label": ["a", "b", "a"]})),
            "classification",
            ListOptions(allow_urls=("a.example",)),
        )


def test_columns_that_are_missing_are_named() -> None:
    with pytest.raises(
        SourceError, match=r"no column that is known to hold classes; its columns are image, breed"
    ):
        opened(arrow({"image": IMAGES, "breed": ["a", "b", "a"]}))
    with pytest.raises(SourceError, match=r"no column 'race'; its columns are image, breed"):
        opened(arrow({"image": IMAGES, "breed": ["a", "b", "a"]}), label_column="race")


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (["a", "b"], ["a", "b"]),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1], [2]]), [1, 2]),
        (np.array([[0, 1], [1, 0]]), [1, 0]),
        ([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [1, 2]),
        ([np.str_("a"), np.int64(3).item()][:1], ["a"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        ((True, False), [True, False]),
    ],
)
def test_labels_beside_images(y: Any, labels: list[Any]) -> None:
    given = given_labels(y, "classification")
    assert given == labels
    assert {type(one) for one in given} <= {str, int, bool}


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (["a", None], "the label of image 1 is None; expected its class"),
        ([1.0, float("nan")], "the label of image 1 is nan"),
        (["a", ""], "the label of image 1 is ''"),
        (np.array(["a", np.nan]), "image 1 has the label 'nan', as programs write what is missing"),
        ([["a"], ["a", "b"]], "the label of image 0 is .*a list; expected one class"),
        (np.array([[0, 1], [1, 1]]), r"labels have the shape \(2, 2\), and not a single 1 in each row"),
        (["a", 1], "some labels are texts and others numbers"),
        ([{"a": 1}, {"b": 2}], "a dict; expected one class"),
        ([1.0, float("inf")], "the label of image 1 is inf"),
        ({"a.jpg": "cat", "b.jpg": "dog"}, "labels are a dict; expected a list with one for each image"),
        ({"cat", "dog"}, "labels are a set; expected a list"),
        ("ab", "labels are a str; expected a list"),
        (np.array(3), "labels are a ndarray; expected a list"),
    ],
)
def test_what_is_no_label(y: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        given_labels(y, "classification")


def test_what_pandas_misses_is_no_label() -> None:
    series = optional.library("pandas", extra="tables").Series(["a", None], dtype="string")
    with pytest.raises(InputError, match="the label of image 1 is <NA>; expected its class"):
        given_labels(series, "classification")


def test_numbers_beside_images() -> None:
    assert given_labels(np.array([[1.5], [2]]), "regression") == [1.5, 2.0]
    with pytest.raises(InputError, match="the number of image 1 is none; expected a finite one"):
        given_labels([1, "none"], "regression")


def test_tensors() -> None:
    torch = optional.library("torch", extra="tables")
    assert given_labels(torch.tensor([2, 0]), "classification") == [2, 0]
    assert given_labels([torch.tensor(2), torch.tensor(0)], "classification") == [2, 0]

"""Several labels of an image: cells, columns of 0 and 1, what is assumed and said, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.dataset.examples import Dataset
from finetune.dataset.label_cells import combination, labels_in, several_labels
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import holds_lists, open_dataset
from models.errors import SourceError
from tests.finetune.dataset.samples import write
from tests.fixtures import plain


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "set", {f"{i}.png": plain((60 * i, 0, 0)) for i in range(4)})


def opened(root: Path, text: str, name: str = "list.csv", **options: str) -> Dataset:
    (root / name).write_text(text, encoding="utf-8")
    return open_dataset(root / name, "multilabel", lists=ListOptions(**options))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path,label\n0.png,hat;red\n1.png, red ; hat\n2.png,hat;\n3.png,\n", "list.csv"),
        ("path,tags\n0.png,hat|red\n1.png,red|hat|hat\n2.png,hat\n3.png,\n", "list.csv"),
        ('path;labels\n0.png;"hat,red"\n1.png;red,hat\n2.png;hat\n3.png;\n', "list.csv"),
        (
            'path,labels\n0.png,"[""hat"", ""red""]"\n1.png,"[\'red\', \'hat\']"\n2.png,hat\n3.png,[]\n',
            "list.csv",
        ),
        ("path,hat,red\n0.png,1,1\n1.png,1,1\n2.png,1,0\n3.png,0,0\n", "list.csv"),
        (
            '{"path": "0.png", "labels": ["hat", "red"]}\n{"path": "1.png", "labels": ["red", "hat"]}\n'
            '{"path": "2.png", "labels": ["hat"]}\n{"path": "3.png", "labels": null}\n',
            "list.jsonl",
        ),
    ],
    ids=["semicolons", "bars", "commas", "lists", "one-hot", "json"],
)
def test_labels_are_read_however_they_are_written(root: Path, text: str, name: str) -> None:
    dataset = opened(root, text, name)
    assert [one.holding for one in dataset.examples] == [("hat", "red"), ("hat", "red"), ("hat",), ()]
    assert dataset.classes == ("hat", "red")
    assert any("1 image with no label, taken for" in note for note in dataset.notes)


def test_what_is_assumed_of_separators_is_said(root: Path) -> None:
    parted = opened(root, "path,label\n0.png,hat;red\n1.png,red\n")
    assert "parted by ';', such as in 'hat;red'" in " ".join(parted.notes)
    alone = opened(root, "path,label\n0.png,hat\n1.png,red\n")
    assert "no cell of its column 'label' names several labels" in " ".join(alone.notes)
    spaced = opened(root, "path,label\n0.png,hat red\n1.png,red\n", label_separator=" ")
    assert spaced.examples[0].holding == ("hat", "red")


def test_two_separators_are_asked_about(root: Path) -> None:
    text = 'path,label\n0.png,"hat, straw;red"\n1.png,red\n'
    with pytest.raises(
        SourceError, match=r"stand ';' and ',', such as in 'hat, straw;red'.*--label-separator"
    ):
        opened(root, text)
    assert opened(root, text, label_separator=";").classes == ("hat, straw", "red")
    with pytest.raises(SourceError, match=r"no cell of its column 'label' holds '\|'"):
        opened(root, text, label_separator="|")


def test_classes_named_like_several_labels_are_mentioned(root: Path) -> None:
    (root / "list.csv").write_text("path,label\n0.png,hat;red\n1.png,hat;blue\n2.png,red\n", encoding="utf-8")
    dataset = open_dataset(root / "list.csv")
    assert dataset.classes == ("hat;blue", "hat;red", "red")
    assert (
        "taken as one class each. If they are several labels of an image, give --task multilabel"
        in dataset.notes[-1]
    )
    assert several_labels(["tench, Tinca tinca", "goldfish, Carassius auratus"]) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\n0.png,hat;nan\n1.png,red\n", "label is 'nan', as programs write what is missing"),
        ('path,label\n0.png,"[hat"\n1.png,red\n', "no list of JSON or Python"),
        ("path,label\n0.png,['hat' 'red']\n1.png,red\n", "no list of JSON or Python"),
        ("path,label\n0.png,\"['hat' 'red', 'old']\"\n1.png,red\n", "no list of JSON or Python"),
        ('path,label\n0.png,"[[1]]"\n1.png,red\n', "expected a list of names"),
        ("path,label\n0.png,\n1.png,\n", "no image has a label"),
    ],
)
def test_what_is_no_label_is_refused(root: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        opened(root, text)


def test_several_ones_or_lists_are_sent_to_the_task(root: Path) -> None:
    for text in ("path,hat,red\n0.png,1,1\n1.png,1,0\n", 'path,label\n0.png,"[""hat""]"\n1.png,red\n'):
        (root / "list.csv").write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match="give --task multilabel"):
            open_dataset(root / "list.csv")


def test_columns_without_a_one_are_mentioned(root: Path) -> None:
    dataset = opened(root, "path,hat,red,old\n0.png,1,1,0\n1.png,0,1,0\n")
    assert dataset.classes == ("hat", "red")
    assert "no image has a 1 in old: not learned" in dataset.notes[-1]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_list_that_is_not_there_is_told_from_a_folder(tmp_path: Path, task: Any) -> None:
    with pytest.raises(SourceError, match=r"list\.csv: no such file or folder"):
        open_dataset(tmp_path / "list.csv", task)


def test_folders_of_classes_have_no_labels(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {"hat/0.png": plain("red"), "cup/0.png": plain("blue")})
    with pytest.raises(SourceError, match=r"multilabel needs the labels of each image.*hat;red"):
        open_dataset(folder, "multilabel")
    assert not holds_lists(folder)


def test_a_list_beside_the_photos_is_used(root: Path) -> None:
    (root / "metadata.csv").write_text("file_name,labels\n0.png,hat;red\n1.png,red\n", encoding="utf-8")
    assert open_dataset(root, "multilabel").classes == ("hat", "red")
    assert holds_lists(root)


def test_a_combination_reads_back() -> None:
    for labels in (["hat", "red"], [], ["a;b", "c"], ["x, y"], ["[z]"]):
        assert labels_in(combination(labels), ";", "here") == labels

"""Labels in the forms in which frameworks keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.card import Label, ModelCard
from models.errors import InputError
from models.labels import imagenet_labels, labels_beside, labels_in, read_labels
from models.preprocessing import Preprocessing


def alike(*names: str) -> tuple[Label, ...]:
    return tuple(Label(name, name) for name in names)


CATS = alike("cat", "dog", "18 wheeler")
FORMS = {
    "names": ("l.txt", "cat\ndog\n18 wheeler\n", CATS),
    "comments and empty lines": ("l.txt", "# classes\ncat\n\ndog\n18 wheeler\n\n", CATS),
    "byte order mark and CRLF": ("l.txt", "\ufeffcat\r\ndog\r\n18 wheeler\r\n", CATS),
    "indices": ("l.txt", "0 cat\n1 dog\n2 18 wheeler\n", CATS),
    "indices with colons, out of order": ("l.txt", "2: 18 wheeler\n0: cat\n1: dog\n", CATS),
    "indices from 1": ("l.txt", "1 cat\n2 dog\n3 18 wheeler\n", CATS),
    "ids": ("l.txt", "c\tcat\nd\tdog\n", (Label("c", "cat"), Label("d", "dog"))),
    "indices before tabs": ("l.txt", "1\tdog\n0\tcat\n", (Label("0", "cat"), Label("1", "dog"))),
    "synsets": (
        "synset.txt",
        "n02123045 tabby, tabby cat\nn02123159 tiger cat\n",
        (Label("n02123045", "tabby, tabby cat"), Label("n02123159", "tiger cat")),
    ),
    "JSON list": ("l.json", json.dumps(["cat", "dog", "18 wheeler"]), CATS),
    "JSON list in a text file": ("l.txt", json.dumps(["cat", "dog", "18 wheeler"]), CATS),
    "map by index": ("l.json", json.dumps({"1": "dog", "0": "cat", "2": "18 wheeler"}), CATS),
    "map by name": ("l.json", json.dumps({"dog": 1, "cat": 0, "18 wheeler": 2}), CATS),
    "Hugging Face": (
        "config.json",
        json.dumps({"hidden": 3, "id2label": {"0": "cat", "1": "dog", "2": "18 wheeler"}}),
        CATS,
    ),
    "Keras": (
        "imagenet_class_index.json",
        json.dumps({"0": ["n02123045", "tabby"], "1": ["n02123159", "tiger_cat"]}),
        (Label("n02123045", "tabby"), Label("n02123159", "tiger_cat")),
    ),
    "a name twice": ("l.txt", "crane\ncrane\n", (Label("crane", "crane"), Label("crane 2", "crane"))),
    "a bracket in a name": ("l.txt", "[background]\ncat\n", alike("[background]", "cat")),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_read_in_every_form(tmp_path: Path, form: str) -> None:
    name, text, labels = FORMS[form]
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name) == labels


def test_utf_16_as_shells_of_windows_write_it(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes("grün\r\nblau\r\n".encode("utf-16"))
    assert read_labels(tmp_path / "l.txt") == alike("grün", "blau")


def test_no_label_is_lost_where_names_look_like_numbered_ones(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("a 3\nb\na\na\na\n", encoding="utf-8")
    labels = read_labels(tmp_path / "l.txt")
    assert [label.name for label in labels] == ["a 3", "b", "a", "a", "a"]
    (tmp_path / "l.txt").write_text("a\na 3\na\n", encoding="utf-8")
    assert len({label.id for label in read_labels(tmp_path / "l.txt")}) == 3


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("l.txt", "", "there is none in it"),
        ("l.json", "{}", "there is none in it"),
        ("l.json", "[]", "there is none in it"),
        ("l.json", "cat\ndog", "Expecting value"),
        ("l.json", "7", "it holds int, not names"),
        ("l.json", '{"0": "cat", "2": "dog"}', "it has 2 names, and none for index 1"),
        ("l.json", '{"cat": "Katze"}', "'cat' is no index"),
        ("l.json", "[null]", "'None' is no name"),
        ("l.json", "[" * 100_000, "cannot be read as labels"),
    ],
)
def test_what_holds_no_labels_is_refused(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_labels(tmp_path / name)


def test_picture_in_place_of_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(InputError, match="expected a text file, one class a line"):
        read_labels(tmp_path / "l.txt")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"names": "{0: 'cat', 1: \"dog's\"}", "task": "classify"}, ("names", alike("cat", "dog's"))),
        ({"id2label": '{"0": "cat", "1": "dog"}'}, ("id2label", alike("cat", "dog"))),
        ({"classes": '["cat", "dog"]'}, ("classes", alike("cat", "dog"))),
        ({"names": "__import__('os').system('true')"}, None),
        ({"names": "[" + "(" * 10_000}, None),
        ({"names": "{0: cat}"}, None),
        ({"author": "somebody"}, None),
    ],
)
def test_labels_in_metadata(metadata: dict[str, str], expected: tuple[str, tuple[Label, ...]] | None) -> None:
    assert labels_in(metadata) == expected


def test_files_beside_a_network_that_bear_its_name_come_first(tmp_path: Path) -> None:
    for name in ("labels.txt", "net_labels.txt", "net_v2.txt", "other_labels.txt", "config.json"):
        (tmp_path / name).touch()
    names = [file.name for file in labels_beside(tmp_path / "net_v2.onnx")]
    assert names == ["net_labels.txt", "net_v2.txt", "labels.txt", "config.json"]
    (tmp_path / "onnx").mkdir()
    assert list(labels_beside(tmp_path / "onnx" / "model.onnx")) == [tmp_path / "config.json"]


def known_as(*names: str) -> ModelCard:
    return ModelCard("net", "classification", Preprocessing((8, 8)), labels=alike(*names))


@pytest.mark.parametrize(
    ("names", "key", "index"),
    [
        (("A", "a"), "A", 0),
        (("A", "a"), "a", 1),
        (("Ä", "b"), "A\u0308", 0),  # as macOS writes the names of folders
        (("Straße", "b"), "STRASSE", 0),
        (("Tabby", "TABBY"), "tabby", None),
        (("crane", "b", "crane, bird"), "crane", 0),  # the whole name goes before a first part
        (("crane, bird", "crane, machine"), "crane", None),
    ],
)
def test_class_is_found_exactly_then_composed_then_whatever_the_case(
    names: tuple[str, ...], key: str, index: int | None
) -> None:
    assert known_as(*names).label(key) == index


def test_imagenet_has_its_classes_and_background() -> None:
    assert len(imagenet_labels()) == 1000
    assert imagenet_labels(1001)[:2] == (Label("background", "background"), imagenet_labels()[0])

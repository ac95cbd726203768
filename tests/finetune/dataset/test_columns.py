"""Tables as people have them: columns, separators, paths, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.dataset.examples import Dataset
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import open_dataset
from models.errors import SourceError
from tests.finetune.dataset.samples import jpeg, write

ONE = jpeg(1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, dict.fromkeys(("x/1.jpg", "x/2.png", "y/3.jpg"), ONE))


def opened(root: Path, text: str, *, name: str = "l.csv", **lists: str) -> Dataset:
    (root / name).write_text(text, encoding="utf-8")
    return open_dataset(root / name, lists=ListOptions(**lists))


def labels(dataset: Dataset) -> list[str]:
    assert all(one.item.read() == ONE for one in dataset.examples)
    return [one.label for one in dataset.examples]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path;label\nx/1.jpg;a\nx/2.png;b\n", "l.csv"),
        ("path\tlabel\nx/1.jpg\ta\nx/2.png\tb\n", "l.csv"),
        ("path,label\nx/1.jpg,a\nx/2.png,b\n", "l.tsv"),
        ("path|label\nx/1.jpg|a\nx/2.png|b\n", "l.csv"),
        ("path,label\nx\\1.jpg,a\nx\\2.png,b\n", "l.csv"),
        ("path,label\n.\\x\\1.jpg,a\n.\\x\\2.png,b\n", "l.csv"),
        ("id,breed\nx/1,a\nx/2,b\n", "l.csv"),
        ("image_id,category\nx/1,a\nx/2,b\n", "l.csv"),
        ("filename, a, b\nx/1.jpg, 1, 0\nx/2.png, 0, 1\n", "l.csv"),
        ("image,a,b\nx/1.jpg,True,False\nx/2.png,0.0,1.0\n", "l.csv"),
        (
            '{"file_name": "x/1.jpg", "label": "a", "boxes": [1, 2]}\n{"file_name": "x/2.png", "label": "b"}',
            "l.jsonl",
        ),
    ],
)
def test_table_is_read(root: Path, text: str, name: str) -> None:
    assert labels(opened(root, text, name=name)) == ["a", "b"]


@pytest.mark.parametrize("path", ["1", "1.jpg", "/home/anna/photos/1.jpg", "C:\\photos\\1.jpg"])
def test_images_may_lie_elsewhere(root: Path, path: str) -> None:
    text = f"id,breed\n{path},a\n2.png,b\n"
    dataset = opened(root, text, images=str(root / "x"))
    assert sorted(labels(dataset)) == ["a", "b"]
    by_name = "1 path of another place found by the last part alone"
    assert (by_name in "".join(dataset.notes)) == (len(path) > len("1.jpg"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cat/1.jpg", "dog/1.jpg"),
        ("/home/anna/1.jpg", "1.jpg"),
        ("1.jpg", "C:\\photos\\1.jpg"),
        ("https://a.example/10/1.jpg", "https://a.example/11/1.jpg"),
        ("https://a.example/10/1", "s3://photos/1.jpg"),
    ],
)
def test_two_names_that_end_alike_are_not_one_image(root: Path, first: str, second: str) -> None:
    with pytest.raises(SourceError, match=r"line 3: going by the last part .* are one file, .*1\.jpg\. Put"):
        opened(root, f"path,label\n{first},a\n{second},b\n2.png,b\n", images=str(root / "x"))


@pytest.mark.parametrize("path", ["../../secret.jpg", "../secret"])
def test_images_elsewhere_are_no_way_out_of_their_folder(root: Path, path: str) -> None:
    write(root, {"secret.jpg": ONE})
    with pytest.raises(SourceError, match="lies outside the list's folder"):
        opened(root, f"path,label\n1.jpg,a\n{path},b\n", images=str(root / "x"))


def test_columns_are_named(root: Path) -> None:
    text = "n,Photo No,Kind,Colour\n1,x/1.jpg,a,red\n2,x/2.png,b,red\n"
    assert labels(opened(root, text, path_column="Photo No", label_column="kind")) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "lists", "message"),
    [
        ("n,photo no,kind\n1,x/1.jpg,a\n", {}, "its columns are n, photo no, kind; none .* the images.*--path-"),
        ("path,kind,colour\nx/1.jpg,a,red\n", {}, "are path, kind, colour; none .* the classes.*--label-column"),
        ("path,label\nx/1.jpg,a\n", {"label_column": "kind"}, r"no column 'kind' \(--label-column\); its columns"),
        ("path,label\nx/1.jpg,a\nx/2.png,\n", {}, "line 3: the column label is empty"),
        ("path,label\nx/1.jpg,a\nx/2.png,nan\n", {}, "line 3: label is 'nan', as programs write what is missing"),
        ("path,label\nx/1.jpg,a\nx/2.png,None\n", {}, "line 3: label is 'None'"),
        ("path,label\nx/1.jpg,a\nx/2.png,\"['a', 'b']\"\n", {}, "line 3: label is .*expected one class"),
        ("path,label\nx/1.jpg,a\n,b\n", {}, "line 3: the column path is empty"),
        ("path,a,b\nx/1.jpg,1,0\nx/2.png,1,1\n", {}, "line 3: 1 in several of its columns, a, b"),
        ("path,a,b\nx/1.jpg,1,0\nx/2.png,0,0\n", {}, "line 3: 1 in none of its columns"),
        ("id,label\n1,a\n2,b\n", {"images": "nowhere"}, r"nowhere: no such folder \(--images\)"),
        ("path,label\n8.jpg,a\n9.jpg,b\n", {}, r"none of the images .* is there, such as 8\.jpg.*--images"),
    ],
)  # fmt: skip
def test_table_that_fits_nothing_is_answered_with_what_is_there(
    root: Path, text: str, lists: dict[str, str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        opened(root, text, **lists)


def test_null_is_an_empty_label(root: Path) -> None:
    with pytest.raises(SourceError, match="line 2: the column label is empty"):
        opened(root, '{"path": "x/1.jpg", "label": "a"}\n{"path": "x/2.png", "label": null}', name="l.jsonl")


def test_id_that_means_two_files_is_refused(root: Path) -> None:
    write(root, {"x/1.png": ONE})
    with pytest.raises(SourceError, match=r"line 2: 1 may be 1\.jpg or 1\.png\. Write the ending"):
        opened(root, "id,breed\nx/1,a\nx/2,b\n")


def test_images_in_two_folders_are_asked_for(root: Path) -> None:
    write(root, {"z/1.jpg": ONE})
    with pytest.raises(SourceError, match=r"its images may lie in x/ and in z/\. Say where with --images"):
        opened(root, "path,label\n1.jpg,a\n2.png,b\n")


def test_what_is_guessed_is_said(root: Path) -> None:
    notes = "\n".join(opened(root, "id,breed\n1,a\n2,b\n").warnings())
    for text in (
        "taken from its column 'breed'",
        "its images lie in x/",
        "2 images named without an ending",
    ):
        assert text in notes
    assert (
        "each of its columns a, b is a class" in opened(root, "path,a,b\nx/1.jpg,1,0\nx/2.png,0,1\n").notes[0]
    )
    assert opened(root, "path,label\nx/1.jpg,a\nx/2.png,b\n").notes == ()


def test_options_of_lists_are_refused_with_folders_of_classes(root: Path) -> None:
    with pytest.raises(SourceError, match="--images and --label-column is for lists"):
        open_dataset(root, lists=ListOptions(images="x", label_column="y"))

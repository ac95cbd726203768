import math
import os
import zipfile
from pathlib import Path

import pytest

from finetune.dataset.examples import Dataset, Example
from finetune.dataset.opening import open_dataset, open_split
from models.errors import ImageError, SourceError
from tests.finetune.dataset.samples import NUMBERED, SOURCES, classes, jpeg, mnist, write, zipped

ONE = jpeg(1)


def names(dataset: Dataset) -> list[str]:
    return [example.key for example in dataset.examples]


def test_folder_of_classes(tmp_path):
    write(
        tmp_path,
        {"cat/b.jpg": ONE, "cat/deep/a.jpg": ONE, "dog/1.jpg": ONE, "dog/x.txt": b"", "top.jpg": ONE},
    )
    (tmp_path / "bird" / "nest").mkdir(parents=True)
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["cat/b.jpg", "cat/deep/a.jpg", "dog/1.jpg"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.empty == ("bird",)
    assert len(dataset.stray) == 1
    assert dataset.ignored == 1
    assert not dataset.has_splits
    text = " ".join(dataset.warnings())
    assert "bird: no image in this folder" in text
    assert "dog: one image only" in text
    assert "1 images outside" in text


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_splits_above_the_classes(tmp_path, val):
    write(tmp_path, {f"{s}/{c}/1.jpg": ONE for s in ("train", val, "test") for c in ("a", "b")})
    (tmp_path / "train" / "c").mkdir()
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert dataset.empty == ("train/c",)
    assert {example.key: example.split for example in dataset.examples}[f"{val}/a/1.jpg"] == "val"
    assert {example.split for example in dataset.examples} == {"train", "val", "test"}


def test_a_class_may_be_called_train(tmp_path):
    write(tmp_path, {"train/1.jpg": ONE, "plane/1.jpg": ONE, "train/steam/2.jpg": ONE})
    assert open_dataset(tmp_path).classes == ("plane", "train")


def test_class_only_in_the_test_is_told(tmp_path):
    write(tmp_path, {"train/a/1.jpg": ONE, "train/a/2.jpg": ONE, "test/b/1.jpg": ONE, "test/b/2.jpg": ONE})
    assert "b: no image for training" in " ".join(open_dataset(tmp_path).warnings())


@pytest.mark.parametrize("top", ["", "photos/"])
@pytest.mark.parametrize("split", ["", "train/"])
def test_zip_archive(tmp_path, top, split):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir(f"{top}{split}empty")
        archive.writestr(f"{top}{split}a/1.jpg", ONE)
        archive.writestr(f"{top}{split}b/1.jpg", jpeg(2))
    dataset = open_dataset(path)
    assert names(dataset) == [f"{split}a/1.jpg", f"{split}b/1.jpg"]
    assert dataset.empty == (f"{split}empty",)
    assert dataset.has_splits == bool(split)
    assert dataset.examples[0].item.read() == ONE


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.jsonl"])
def test_lists(tmp_path, name):
    write(tmp_path, {"x/1.jpg": ONE, "x/2.jpg": jpeg(2)})
    rows = [
        ("File", "Class", "split", "group"),
        ("x/1.jpg", "a", "Valid", "g"),
        ("x/2.jpg", "b", "train", ""),
    ]
    if name == "l.jsonl":
        import json

        lines = [json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]
    else:
        lines = [(chr(9) if name == "l.tsv" else ",").join(row) for row in rows]
    (tmp_path / name).write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / name)
    first, second = dataset.examples
    assert (first.key, first.label, first.split, first.group) == ("x/1.jpg", "a", "val", "g")
    assert (second.label, second.split, second.group) == ("b", "train", None)
    assert first.item.read() == ONE


def test_regression_list(tmp_path):
    write(tmp_path, {"1.jpg": ONE, "l.csv": b"image,y\n1.jpg,2.5\n"})
    dataset = open_dataset(tmp_path / "l.csv", "regression")
    assert dataset.examples[0].target == 2.5
    assert dataset.classes == ()
    assert math.isnan(open_example(tmp_path).target)


def open_example(tmp_path: Path) -> Example:
    write(tmp_path, {"c.csv": b"path,label\n1.jpg,a\nb.jpg,b\n"})
    return open_dataset(tmp_path / "c.csv").examples[0]


@pytest.mark.parametrize(
    "outside", ["../secret.jpg", "sub/../../secret.jpg", "{root}/secret.jpg", "/etc/passwd"]
)
def test_list_names_no_file_outside_its_folder(tmp_path, outside):
    write(tmp_path, {"secret.jpg": ONE, "in/1.jpg": ONE})
    line = outside.format(root=tmp_path)
    (tmp_path / "in" / "l.csv").write_text(f"path,label\n1.jpg,a\n{line},b\n")
    with pytest.raises(SourceError, match=r"line 3: .* lies outside the list's folder.*--outside"):
        open_dataset(tmp_path / "in" / "l.csv")
    assert len(open_dataset(tmp_path / "in" / "l.csv", outside=True).examples) == 2


def test_list_goes_into_archives_and_idx_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a/1.jpg", ONE)
    mnist(tmp_path, "t10k", 3)
    (tmp_path / "l.csv").write_text("path,label\np.zip/a/1.jpg,a\nt10k-images[2],b\n")
    first, second = open_dataset(tmp_path / "l.csv").examples
    assert first.item.read() == ONE
    assert second.item.read().shape == (28, 28, 3)


def test_idx_files(tmp_path):
    mnist(tmp_path, "t10k", 6)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.examples[4].key == "t10k-images[4]"
    assert dataset.examples[4].item.read()[0, 1].tolist() == [(4 * 784 + 1) % 256] * 3
    assert not dataset.has_splits
    mnist(tmp_path, "train", 9)
    (tmp_path / "labels.txt").write_text("A\nB\nC\n")
    both = open_dataset(tmp_path)
    assert both.classes == ("A", "B", "C")
    assert sum(example.split == "train" for example in both.examples) == 9


def test_damaged_idx_files(tmp_path):
    mnist(tmp_path, "t10k", 6, labels=5)
    with pytest.raises(SourceError, match="6 images but 5 labels"):
        open_dataset(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SourceError, match=r"cut off|cannot be read"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/1.jpg": ONE}, "one class only, 'a'"),
        ({"1.jpg": ONE}, "1 images outside of folders"),
        ({"a/x.txt": b""}, r"the empty folders a\."),
        ({"l.csv": b"path,label\n1.jpg,a\n"}, "one class only"),
        (
            {"l.csv": b"path\n1.jpg\n"},
            "its columns are path; none .* the classes, as label, class, .*--label",
        ),
        ({"l.csv": b"path,label\n1.jpg,\n2.jpg,b"}, "line 2: the column label is empty"),
        ({"l.csv": b"path,label\n1.jpg,a\n1.jpg,b"}, "line 3: 1.jpg stands there a second time"),
        ({"l.csv": b"path,label,split\n1.jpg,a,maybe\n"}, "split is 'maybe'"),
        ({"l.csv": b"path,label,split\n1.jpg,a,train\n2.jpg,b,\n"}, "2.jpg has no split"),
        ({"l.txt": b"1.jpg\n"}, "a plain list has paths alone"),
    ],
)
def test_what_is_no_dataset(tmp_path, files, message):
    write(tmp_path, files)
    (name,) = files
    with pytest.raises(SourceError, match=message):
        open_dataset(tmp_path / name if name.startswith("l.") else tmp_path)


@pytest.mark.parametrize("value", ["three", "nan", "inf", "1e999", "-1e300"])
def test_targets_are_finite_numbers(tmp_path, value):
    write(tmp_path, {"l.csv": f"path,target\n1.jpg,{value}\n".encode()})
    with pytest.raises(SourceError, match="is no finite number"):
        open_dataset(tmp_path / "l.csv", "regression")


def test_regression_needs_a_list(tmp_path):
    with pytest.raises(SourceError, match="regression needs a number"):
        open_dataset(classes(tmp_path, a=1, b=1), "regression")


@pytest.mark.parametrize("spec", ["", "nowhere", "file.jpg"])
def test_nothing_there(tmp_path, spec, monkeypatch):
    monkeypatch.chdir(write(tmp_path, {"file.jpg": ONE}))
    with pytest.raises(SourceError, match=r"expected a folder"):
        open_dataset(spec)


def test_names_as_they_come(tmp_path):
    strange = ["a b", "ü \"quoted\" 'x'", "<script>alert(1)<", "日本"]
    write(tmp_path, {f"{name}/1.jpg": ONE for name in strange})
    assert set(open_dataset(tmp_path).classes) == set(strange)


def told(dataset: Dataset) -> list[tuple[object, ...]]:
    return [(one.key, one.label, repr(one.target), one.split, one.item.id) for one in dataset.examples]


def test_folders_that_become_one_class_are_told(tmp_path):
    """On a system that keeps names as bytes two folders may look the same."""
    for name in (b"caf\xc3\xa9", b"cafe\xcc\x81", b"\xff", b"\xfe", b"tea"):
        folder = os.path.join(os.fsencode(tmp_path), name)
        try:
            os.mkdir(folder)
        except OSError:
            pytest.skip("the file system takes no such names")
        with open(os.path.join(folder, b"1.jpg"), "wb") as photo:
            photo.write(ONE)
    if len(os.listdir(tmp_path)) < 5:
        pytest.skip("the file system takes both names for one")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("caf\xe9", "tea", "\ufffd")
    (text,) = dataset.warnings()[:1]
    assert text.startswith(
        "folders whose names differ in bytes and not in letters are taken together: 2 called '"
    )
    assert "2 called 'caf\xe9'" in text
    assert "2 called '\ufffd'" in text


def test_classes_that_a_slip_may_have_made_of_one_are_told(tmp_path):
    write(
        tmp_path, {f"{name}/1.jpg": ONE for name in ("Hat", "hat", "t-shirt", "T shirt", "shoes", "-", "_")}
    )
    warnings = open_dataset(tmp_path).warnings()
    assert warnings[-1] == (
        "Hat, hat; T shirt, t-shirt: differ in capitals, spaces or dashes alone, and each is a class of its own. Give "
        "them one name if one is meant."
    )
    (tmp_path / "list.csv").write_text("path,label\nHat/1.jpg,Dog\nhat/1.jpg,dog\n")
    assert any(text.startswith("Dog, dog: differ") for text in open_dataset(tmp_path / "list.csv").warnings())


@pytest.mark.parametrize(
    ("kind", "task"), [(k, "classification") for k in SOURCES] + [(k, "regression") for k in NUMBERED]
)
def test_what_can_be_learned_can_be_measured(tmp_path, kind, task):
    source, split = (SOURCES if task == "classification" else NUMBERED)[kind](tmp_path)
    whole, part = open_dataset(source, task), open_split(source, split, task)
    assert part.examples
    assert told(part) == [one for one in told(whole) if split is None or one[3] == split]
    assert whole.classes == part.classes == (() if task == "regression" else ("blue", "green", "red"))
    assert whole.has_splits == (split is not None)
    if split is not None:
        with pytest.raises(
            SourceError, match=r"has the splits (train, val|test, train)\. Choose one of them"
        ):
            open_split(source, None, task)
    for name in ("holdout", "", "../train"):  # "": a variable of a shell that is not set
        with pytest.raises(
            SourceError, match=rf"no image of the split '{name}'; there is (no split|t.*)\. Choose"
        ):
            open_split(source, name, task)


FILES = dict.fromkeys(
    ("holdout/cat/1.jpg", "holdout/dog/deep/3.jpg", "holdout/stray.jpg", "a/cat/2.jpg", "val/dog/4.jpg"), ONE
)


@pytest.mark.parametrize("around", ["", "pets/"])
@pytest.mark.parametrize("packed", [True, False])
def test_any_folder_above_the_classes_can_be_measured(tmp_path, around, packed):
    files = {around + name: data for name, data in FILES.items()}
    source = zipped(tmp_path / "a.zip", files) if packed else write(tmp_path, files)
    part = open_split(source, "holdout")
    assert [(one.key, one.label) for one in part.examples] == [
        ("cat/1.jpg", "cat"),
        ("dog/deep/3.jpg", "dog"),
    ]
    assert (part.classes, len(part.stray)) == (("cat", "dog"), 1)
    only = open_split(source, "val")  # one class is enough to measure
    assert (only.classes, names(only)) == (("dog",), ["dog/4.jpg"])


def test_folder_that_cannot_be_listed_says_why(tmp_path, monkeypatch):
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    for opening in (open_dataset, open_split):
        with pytest.raises(ImageError, match=r"cannot be listed \(Permission denied\)"):
            opening(tmp_path)

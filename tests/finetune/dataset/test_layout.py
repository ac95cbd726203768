"""Folders as people lay them: one level off, nested, splits without classes, lists beside the photos, links."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from finetune.dataset.opening import open_dataset, open_split
from models.errors import SourceError
from tests.finetune.dataset.samples import jpeg, write, zipped

ONE = jpeg(1)


def photos(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, ONE)


def notes(root: Path) -> str:
    return "\n".join(open_dataset(root).warnings())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "tops",
    [
        ("train", "test"), ("train", "valid", "test"), ("Training", "validation"), ("dev", "eval"),
        ("train_set", "test_set"), ("train", "test", "cat"),
    ],
)  # fmt: skip
def test_splits_without_classes_are_no_classes(tmp_path: Path, packed: bool, tops: tuple[str, ...]) -> None:
    files = photos(*(f"{top}/{i}.jpg" for top in tops for i in (1, 2)))
    source = zipped(tmp_path / "a.zip", files) if packed else write(tmp_path, files)
    for opening in (open_dataset, open_split):
        with pytest.raises(SourceError, match=r"called as splits are.*Expected \w+/CLASS/photo\.jpg"):
            opening(source)


def test_one_class_of_many_may_be_called_train(tmp_path: Path) -> None:
    assert open_dataset(write(tmp_path, photos("train/1.jpg", "plane/1.jpg"))).classes == ("plane", "train")


@pytest.mark.parametrize("tops", [("my_photos", "test_set"), ("flowers", "Validation Images", "test")])
def test_one_level_too_high_is_refused_where_a_split_lies_there(
    tmp_path: Path, tops: tuple[str, ...]
) -> None:
    root = write(tmp_path, photos(*(f"{top}/{name}/1.jpg" for top in tops for name in ("cat", "cup"))))
    for opening in (open_dataset, open_split):
        with pytest.raises(
            SourceError, match=rf"such as cat, cup.*one level too high\. Give .*/{tops[0]} to learn"
        ):
            opening(root)
    assert open_split(root, tops[0]).classes == ("cat", "cup")


def test_folders_in_classes_are_said(tmp_path: Path) -> None:
    root = write(tmp_path, photos("animal/cat/1.jpg", "animal/dog/2.jpg", "thing/cup/3.jpg", "thing/4.jpg"))
    assert open_dataset(root).classes == ("animal", "thing")
    assert (
        "3 images in folders below those of classes (animal/cat, animal/dog, thing/cup): the upper"
        in notes(root)
    )


def test_splits_below_the_classes_are_said_not_to_be_splits(tmp_path: Path) -> None:
    root = write(tmp_path, photos(*(f"{c}/{s}/1.jpg" for c in ("cat", "cup") for s in ("train", "test"))))
    assert not open_dataset(root).has_splits
    assert "below the folders of classes lie test, train, taken together and not as splits" in notes(root)


def test_flat_classes_have_nothing_to_say(tmp_path: Path) -> None:
    assert notes(write(tmp_path, photos("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"))) == ""


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("metadata.csv", "file_name,label\nphotos/1.jpg,cat\nphotos/2.jpg,dog\n"),
        ("metadata.jsonl", '{"image": "photos/1.jpg", "label": "cat"}\n{"image": "photos/2.jpg", "label": "dog"}'),
        ("labels.csv", "filename;class\nphotos\\1.jpg;cat\nphotos\\2.jpg;dog\n"),
        ("train.csv", "id,breed\n1,cat\n2,dog\n"),
        ("_classes.csv", "filename, cat, dog\nphotos/1.jpg, 1, 0\nphotos/2.jpg, 0, 1\n"),
    ],
)  # fmt: skip
def test_list_beside_the_photos_is_used_and_said(tmp_path: Path, table: str, text: str) -> None:
    root = write(tmp_path, photos("photos/1.jpg", "photos/2.jpg", "photos/3.jpg") | {table: text.encode()})
    dataset = open_dataset(root)
    assert {Path(one.item.id).name: one.label for one in dataset.examples} == {"1.jpg": "cat", "2.jpg": "dog"}
    assert all(one.item.read() == ONE for one in dataset.examples)
    assert f"labels come from {root / table}, beside the photos" in notes(root)
    assert "1 image not named there and not used" in notes(root)


def test_lists_of_hugging_face_lie_in_folders_of_splits(tmp_path: Path) -> None:
    files = photos(*(f"{split}/{i}.jpg" for split in ("train", "test") for i in (1, 2)))
    table = b"file_name,label\n1.jpg,cat\n2.jpg,dog\n"
    root = write(tmp_path, files | {"train/metadata.csv": table, "test/metadata.csv": table})
    examples = {one.key: (one.label, one.split) for one in open_dataset(root).examples}
    assert examples == {
        "train/1.jpg": ("cat", "train"), "train/2.jpg": ("dog", "train"),
        "test/1.jpg": ("cat", "test"), "test/2.jpg": ("dog", "test"),
    }  # fmt: skip
    assert [one.key for one in open_split(root, "test").examples] == ["test/1.jpg", "test/2.jpg"]


def test_photos_of_a_competition_without_labels_are_counted(tmp_path: Path) -> None:
    files = photos("train/a1.jpg", "train/b2.jpg", "test/c3.jpg") | {
        "train.csv": b"id,breed\na1,pug\nb2,husky\n"
    }
    root = write(tmp_path, files)
    assert open_dataset(root).classes == ("husky", "pug")
    for text in (
        "its images lie in train/", "taken from its column 'breed'", "2 images named without an ending",
        "1 image not named there and not used",
    ):  # fmt: skip
        assert text in notes(root)


def test_folders_of_classes_go_before_a_list(tmp_path: Path) -> None:
    root = write(
        tmp_path, photos("a/1.jpg", "b/1.jpg") | {"labels.csv": b"path,label\na/1.jpg,x\nb/1.jpg,y\n"}
    )
    assert open_dataset(root).classes == ("a", "b")
    assert "labels.csv is not used: the folders name the classes" in notes(root)


def test_folder_with_a_list_of_numbers(tmp_path: Path) -> None:
    root = write(
        tmp_path, photos("1.jpg", "2.jpg") | {"metadata.csv": b"file_name,age\n1.jpg,3\n2.jpg,4.5\n"}
    )
    assert [one.target for one in open_dataset(root, "regression").examples] == [3, 4.5]


@pytest.mark.parametrize(
    "junk", ["@eaDir/1.jpg/x.jpg", "__MACOSX/1.jpg", ".ipynb_checkpoints/1.jpg", "lost+found/1.jpg"]
)
def test_what_systems_leave_is_no_class(tmp_path: Path, junk: str) -> None:
    files = photos("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", junk, f"cat/{junk}")
    for source in (write(tmp_path / "photos", files), zipped(tmp_path / "a.zip", files)):
        dataset = open_dataset(source)
        assert (dataset.classes, dataset.empty, dataset.warnings()) == (("cat", "dog"), (), ())


def test_link_to_another_split_is_said_and_read_once(tmp_path: Path) -> None:
    write(tmp_path, photos("train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg"))
    (tmp_path / "test").symlink_to("val", target_is_directory=True)
    dataset = open_dataset(tmp_path)
    assert sorted(one.key for one in dataset.examples) == [
        "train/a/1.jpg",
        "train/b/1.jpg",
        "val/a/2.jpg",
        "val/b/2.jpg",
    ]
    assert f"{tmp_path / 'test'} is a link to val: read there alone." in dataset.warnings()


def test_name_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    apart, together = (unicodedata.normalize(form, "Käse") for form in ("NFD", "NFC"))
    files = photos(f"train/{apart}/1.jpg", "train/Brot/1.jpg", f"test/{together}/2.jpg", "test/Brot/2.jpg")
    dataset = open_dataset(write(tmp_path, files))
    assert dataset.classes == ("Brot", together)
    assert all(one.item.read() == ONE for one in dataset.examples)
    table = f"path,label\n1.jpg,{apart}\n2.jpg,{together}\n3.jpg,Brot\n".encode()
    root = write(tmp_path / "list", photos("1.jpg", "2.jpg", "3.jpg") | {"l.csv": table})
    assert open_dataset(root / "l.csv").classes == ("Brot", together)

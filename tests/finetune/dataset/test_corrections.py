from __future__ import annotations

from pathlib import Path

import pytest

from feature_extraction.items import ImageItem
from finetune.dataset.corrections import corrected
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.label_cells import combination
from models.errors import InputError, SourceError


def dataset(task: str = "classification", names: tuple[str, ...] = ("cat", "dog", "cup")) -> Dataset:
    examples = tuple(
        Example(ImageItem(f"/photos/{label}/{i}.jpg", lambda: b""), label, name=f"{label}/{i}.jpg")
        for label in names
        for i in range(3)
    )
    return Dataset("photos", task, examples, names)  # type: ignore[arg-type]


def table(folder: Path, *rows: str, header: str = "id,label,predicted,probability,correction") -> Path:
    path = folder / "mistakes.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_labels_are_put_right_and_images_left_out(tmp_path: Path) -> None:
    path = table(
        tmp_path, "cat/1.jpg,cat,dog,0.9,dog", "cat/2.jpg,cat,cup,0.8,", "cup/0.jpg,cup,dog,0.7,Drop"
    )
    right = corrected(dataset(), path)
    assert (right.relabelled, right.dropped) == (1, 1)
    assert right.words() == "1 image relabelled, 1 dropped, by the corrections"
    labels = {example.key: example.label for example in right.dataset.examples}
    assert labels["cat/1.jpg"] == "dog"  # the name, which decides on its split, stays
    assert labels["cat/2.jpg"] == "cat"
    assert "cup/0.jpg" not in labels
    assert len(labels) == 8


def test_a_class_without_images_goes_and_that_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, *(f"cup/{i}.jpg,cup,dog,0.9,dog" for i in range(3)))
    right = corrected(dataset(), path)
    assert right.dataset.classes == ("cat", "dog")
    assert right.words().endswith("0 dropped, by the corrections; no image is left of cup: not learned")


def test_a_table_that_a_spreadsheet_saved(tmp_path: Path) -> None:
    path = table(tmp_path, "cat/1.jpg;dog", header="\ufeffID;Correction")
    assert corrected(dataset(), path).relabelled == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((), "no row has a correction"),
        (("cat/1.jpg,cat,dog,0.9,",), "no row has a correction"),
        (("cat/1.jpg,cat,dog,0.9,dgo",), "line 2: no class is called 'dgo'; expected cat, dog, cup, or 'drop'"),
        (("bat/1.jpg,cat,dog,0.9,dog",), "bat/1.jpg: no such image in photos"),
        (("cat/1.jpg,cat,dog,0.9,cat",), "Nothing would change"),
        (("cat/1.jpg,cat,dog,0.9,dog", "cat/1.jpg,cat,dog,0.9,cup"), "corrected to 'dog' above and to 'cup' here"),
        (tuple(f"{a}/{i}.jpg,x,y,1,drop" for a in ("cat", "dog") for i in range(3)), "images of 1 class"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied(rows: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        corrected(dataset(), table(tmp_path, *rows))


def test_other_tables_and_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column correction; expected the columns of mistakes"):
        corrected(dataset(), table(tmp_path, "cat/1.jpg,dog", header="id,label"))
    right = table(tmp_path, "cat/1.jpg,cat,dog,0.9,dog")
    with pytest.raises(InputError, match="a number is learned"):
        corrected(dataset("regression"), right)
    with pytest.raises(InputError, match="is a class and the word for leaving an image out"):
        corrected(dataset(names=("cat", "Drop")), table(tmp_path, "cat/1.jpg,cat,dog,0.9,drop"))
    with pytest.raises(SourceError, match="cannot be read"):
        corrected(dataset(), tmp_path / "none.csv")
    twice = dataset()
    twice = Dataset("photos", "classification", (*twice.examples, twice.examples[1]), twice.classes)
    with pytest.raises(InputError, match="stands for several images"):
        corrected(twice, table(tmp_path, "cat/1.jpg,cat,dog,0.9,dog"))


def labelled() -> Dataset:
    held = [("hat", "red"), ("hat",), (), ("red",)]
    examples = tuple(
        Example(
            ImageItem(f"/photos/{i}.jpg", lambda: b""), combination(labels), name=f"{i}.jpg", holding=labels
        )
        for i, labels in enumerate(held)
    )
    return Dataset("photos", "multilabel", examples, ("hat", "red"))


def test_labels_of_which_several_may_hold_are_put_right(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "0.jpg,hat;red,hat,0.9,red ; hat",
        "1.jpg,hat,red,0.9,[]",
        '2.jpg,,hat,0.8,"[""red"", ""hat""]"',
        "3.jpg,red,,0.7,drop",
    )
    right = corrected(labelled(), path)
    assert (right.relabelled, right.dropped) == (2, 1)  # the first keeps what it had
    assert [one.holding for one in right.dataset.examples] == [("hat", "red"), (), ("hat", "red")]
    assert [one.label for one in right.dataset.examples] == ["hat;red", "", "hat;red"]
    with pytest.raises(InputError, match="no class is called 'gold'; expected hat, red"):
        corrected(labelled(), table(tmp_path, "0.jpg,hat;red,hat,0.9,gold;red"))

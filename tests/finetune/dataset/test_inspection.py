import csv
import json

import pytest
from PIL import Image

from feature_extraction.items import ImageItem
from finetune.dataset.cleaning import exclusions, write_list
from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.inspection import Inspection, inspect
from finetune.dataset.inspection_json import as_json
from finetune.dataset.inspection_page import page
from finetune.dataset.opening import open_dataset
from finetune.dataset.scanning import Facts
from finetune.dataset.suspicion import Suspect
from models.errors import InputError
from tests.finetune.dataset.samples import classes, jpeg, write
from tests.fixtures import encoded

SMALL = jpeg(1, (20, 15))
HOSTILE = "<script>alert('1')&\"ü"


@pytest.fixture
def folder(tmp_path):
    root = classes(tmp_path / "photos", a=4, b=4)
    copy = (root / "a" / "0.jpg").read_bytes()
    write(
        root, {"a/copy.jpg": copy, f"{HOSTILE}/x y.jpg": (root / "b/1.jpg").read_bytes(), "b/bad.jpg": b"no"}
    )
    return root


def test_what_is_found(folder):
    inspection = inspect(open_dataset(folder), None)
    names = [example.key for example in inspection.dataset.examples]
    assert [names[i] for i in inspection.unreadable] == ["b/bad.jpg"]
    assert [[names[i] for i in group.indices] for group in inspection.conflicts] == [
        [f"{HOSTILE}/x y.jpg", "b/1.jpg"]
    ]
    assert inspection.counts == {"a": 5, "b": 5, HOSTILE: 1}
    assert inspection.imbalance == 5
    assert 2 < inspection.effective_classes < 3
    plain = json.loads(json.dumps(as_json(inspection)))
    assert plain["width"] == {"least": 160, "median": 160, "greatest": 160}
    assert plain["duplicates"][1]["kind"] == "exact"
    assert plain["different_labels"] == [[f"{HOSTILE}/x y.jpg", "b/1.jpg"]]


def test_page_escapes_names_and_requests_nothing(folder):
    text = page(inspect(open_dataset(folder), None))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("data:image/jpeg;base64,") >= 9
    assert "no picture" not in text  # what cannot be read is not chosen for a class


def test_copies_across_splits(tmp_path):
    names = [f"{split}/{label}/{i}.jpg" for split in ("train", "test") for label in "ab" for i in (1, 2)]
    photos = {name: jpeg(seed) for seed, name in enumerate(names)}
    root = write(tmp_path, photos | {"test/a/1.jpg": photos["train/a/1.jpg"]})
    inspection = inspect(open_dataset(root), None)
    keys = [example.key for example in inspection.dataset.examples]
    assert [[keys[i] for i in group.indices] for group in inspection.across] == [
        ["test/a/1.jpg", "train/a/1.jpg"]
    ]
    assert "more than one split" in page(inspection)
    (gone,) = exclusions(inspection)
    assert (keys[gone.index], gone.reason) == ("train/a/1.jpg", "copy")  # what measures stays


def test_nothing_readable(tmp_path):
    root = write(tmp_path, {"a/1.jpg": b"x", "b/1.jpg": b"y"})
    with pytest.raises(InputError, match="not one of 2 images can be read"):
        inspect(open_dataset(root), None)


def test_clean_list_is_a_dataset_again(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*.jpg")}
    inspection = inspect(open_dataset(folder), None)
    out = folder.parent / "list.csv"
    beside = write_list(out, inspection, exclusions(inspection))
    assert {path: path.read_bytes() for path in folder.rglob("*.jpg")} == before
    again = open_dataset(out)
    assert [one.key for one in again.examples] == [f"a/{i}.jpg" for i in range(4)] + [
        f"b/{i}.jpg" for i in (0, 2, 3)
    ]
    assert all(one.item.read() for one in again.examples)
    with beside.open(newline="") as stream:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(stream)}
    assert reasons == {
        "photos/a/copy.jpg": "copy",
        "photos/b/1.jpg": "different labels",
        f"photos/{HOSTILE}/x y.jpg": "different labels",
        "photos/b/bad.jpg": "unreadable",
    }


def test_near_copies_share_a_group_or_go(tmp_path):
    root = classes(tmp_path / "p", a=3, b=3)
    write(root, {"a/again.jpg": jpeg(1, quality=45)})
    inspection = inspect(open_dataset(root), None)
    assert exclusions(inspection) == []
    write_list(tmp_path / "l.csv", inspection, [])
    groups = {one.key: one.group for one in open_dataset(tmp_path / "l.csv").examples}
    assert groups["a/0.jpg"] == groups["a/again.jpg"] == "copies of a/0.jpg"
    assert groups["b/0.jpg"] is None
    (gone,) = exclusions(inspection, ["near"])
    assert (gone.reason, gone.detail) == ("near copy", "of a/0.jpg")


def test_suspected_labels_go_only_when_asked(tmp_path):
    inspection = inspect(open_dataset(classes(tmp_path, a=2, b=2)), None)
    doubted = Inspection(
        inspection.dataset, inspection.facts, inspection.groups, "m", 0.9, [Suspect(0, "b", 0.1, 0.9)]
    )
    assert exclusions(doubted) == []
    assert [one.reason for one in exclusions(doubted, ["labels"])] == ["suspected label"]


def test_flawed_photos_go_only_when_asked(tmp_path):
    root = classes(tmp_path, a=3, b=3)
    write(root, {"a/dark.jpg": encoded(Image.new("RGB", (300, 200), (3, 3, 3)), "JPEG")})
    inspection = inspect(open_dataset(root), None)
    assert exclusions(inspection) == []
    keys = [example.key for example in inspection.dataset.examples]
    gone = {keys[one.index]: one.detail for one in exclusions(inspection, ["flaws"]) if one.reason == "flaw"}
    assert gone["a/dark.jpg"].startswith("one colour")
    assert len(gone) == len(inspection.flaws)


def test_report_of_ten_thousand_classes_is_small():
    read: list[str] = []

    def item(name: str) -> ImageItem:
        return ImageItem(name, lambda: read.append(name) or SMALL)

    examples = tuple(Example(item(f"c{i:05}/{k}.jpg"), f"c{i:05}") for i in range(10_000) for k in (0, 1))
    data = Dataset("many", "classification", examples, tuple(f"c{i:05}" for i in range(10_000)))
    groups = [Group((2 * i, 2 * i + 1), "near") for i in range(10_000)]
    facts = [Facts(b"", 1, 1, "RGB", "JPEG", 1)] * len(examples)
    inspection = Inspection(
        data, facts, groups, "m", 0.5, [Suspect(i, "c00001", 0.1, 0.9) for i in range(9000)]
    )
    text = page(inspection)
    # Both images of the 40 classes that are shown; copies and suspects that are shown are among them.
    assert sorted(read) == [f"c{i:05}/{k}.jpg" for i in range(40) for k in (0, 1)]
    assert len(text) < 500_000
    assert "40 of 10\u202f000 classes are shown" in text


def test_labels_are_counted_and_not_judged(tmp_path):
    files = {f"{i}.jpg": jpeg(i) for i in range(4)}
    write(tmp_path, files | {"copy.jpg": files["0.jpg"]})
    rows = ["0.jpg,hat;red", "1.jpg,hat", "2.jpg,", "3.jpg,red", "copy.jpg,hat"]
    (tmp_path / "list.csv").write_text("\n".join(["path,labels", *rows]), encoding="utf-8")
    found = inspect(open_dataset(tmp_path / "list.csv", "multilabel"))
    assert found.counts == {"hat": 3, "red": 2}
    assert (len(found.conflicts), len(found.suspects), len(found.outliers)) == (1, 0, 0)
    excluded = exclusions(found)
    write_list(tmp_path / "clean.csv", found, excluded)
    again = open_dataset(tmp_path / "clean.csv", "multilabel")
    assert [one.holding for one in again.examples] == [("hat",), (), ("red",)]

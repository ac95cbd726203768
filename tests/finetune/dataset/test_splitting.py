from collections import Counter

import pytest

from feature_extraction.items import file_item
from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.splitting import assign_splits
from models.errors import InputError


def dataset(counts: dict[str, int], root: str = "/x", **fields) -> Dataset:
    examples = tuple(
        Example(file_item(f"{root}/{label}/{i}.jpg"), label, name=f"{label}/{i}.jpg", **fields)
        for label, count in counts.items()
        for i in range(count)
    )
    return Dataset(root, "classification", examples, tuple(sorted(counts)))


def sides(data: Dataset, *groups: Group, **options) -> dict[str, str]:
    return dict(zip((e.key for e in data.examples), assign_splits(data, groups, **options), strict=True))


def test_shares_of_each_class():
    sides = assign_splits(dataset({"a": 1000, "b": 400}), [])
    for part, total in ((sides[:1000], 1000), (sides[1000:], 400)):
        counts = Counter(part)
        for side in ("val", "test"):
            assert 0.11 < counts[side] / total < 0.19


def test_not_moved_by_the_folder_nor_by_other_files():
    before = sides(dataset({"a": 300, "b": 50}))
    after = sides(dataset({"a": 300, "b": 80, "c": 10}, root="/elsewhere"))
    assert {name: after[name] for name in before} == before


def test_seed_changes_it():
    assert sides(dataset({"a": 100, "b": 9}), seed=1) != sides(dataset({"a": 100, "b": 9}))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, {"train": 1}), (2, {"train": 1, "val": 1}), (3, {"train": 1, "val": 1, "test": 1})],
)
def test_small_classes(count, expected):
    for seed in range(20):
        data = dataset({"a": count, "b": 100})
        assert Counter(assign_splits(data, [], seed=seed)[:count]) == expected


@pytest.mark.parametrize(("val", "test"), [(0, 0), (0.5, 0), (0, 0.5)])
def test_no_share_gets_nothing(val, test):
    counts = Counter(assign_splits(dataset({"a": 40, "b": 3}), [], val=val, test=test))
    assert bool(counts["val"]) == bool(val)
    assert bool(counts["test"]) == bool(test)


def test_copies_and_groups_stay_together():
    data = dataset({"a": 200, "b": 200})
    pairs = [Group((i, 200 + i), "near") for i in range(200)]
    sides = assign_splits(data, pairs)
    assert all(sides[group.indices[0]] == sides[group.indices[1]] for group in pairs)
    assert set(sides) == {"train", "val", "test"}
    grouped = Dataset(
        "x",
        "classification",
        tuple(Example(e.item, e.label, group=f"g{i % 20}", name=e.key) for i, e in enumerate(data.examples)),
        data.classes,
    )
    sides = assign_splits(grouped, [])
    assert all(len({sides[i] for i in range(g, 400, 20)}) == 1 for g in range(20))


def test_own_splits_are_kept_and_val_is_carved_out_of_train():
    train, test = dataset({"a": 100, "b": 100}, split="train"), dataset({"a": 20, "b": 20}, split="test")
    both = Dataset("x", "classification", train.examples + test.examples, train.classes)
    leak = Group((0, 200), "exact")  # in train and test: stays where it is
    sides = assign_splits(both, [leak], val=0.15, test=0.5)
    assert set(sides[200:]) == {"test"}
    assert set(sides[:200]) == {"train", "val"}
    assert sides[0] == "train"
    assert 10 < Counter(sides)["val"] < 50


def test_own_validation_is_left_alone():
    data = dataset({"a": 5, "b": 5})
    examples = tuple(
        Example(e.item, e.label, split="val" if i % 5 == 0 else "train") for i, e in enumerate(data.examples)
    )
    own = Dataset("x", "classification", examples, data.classes)
    assert assign_splits(own, []) == [e.split for e in examples]


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.5, 0.5), (1.0, 0.0), (float("nan"), 0.1)])
def test_shares_that_leave_nothing(val, test):
    with pytest.raises(InputError, match="expected shares from 0"):
        assign_splits(dataset({"a": 4, "b": 4}), [], val=val, test=test)

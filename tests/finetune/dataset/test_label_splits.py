"""Images with several labels are shared out so that combinations keep their shares and labels reach every side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from feature_extraction.items import file_item
from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Example, Split
from finetune.dataset.label_cells import combination
from finetune.dataset.splitting import assign_splits


def dataset_of(labels: Sequence[tuple[str, ...]]) -> Dataset:
    examples = tuple(
        Example(file_item(f"/{i}.png", f"{i}.png"), combination(each), holding=each)
        for i, each in enumerate(labels)
    )
    return Dataset("set", "multilabel", examples, tuple(sorted({name for each in labels for name in each})))


def counted(dataset: Dataset, splits: Sequence[Split], wanted: str) -> Counter[str]:
    """How many images with a label, or a combination, stand on each side."""
    return Counter(
        split
        for example, split in zip(dataset.examples, splits, strict=True)
        if wanted in (*example.holding, example.label)
    )


def test_combinations_keep_their_shares() -> None:
    dataset = dataset_of([("hat", "red")] * 400 + [("hat",)] * 200 + [("cup", "red")] * 200 + [()] * 200)
    splits = assign_splits(dataset, ())
    for name, images in (("hat;red", 400), ("hat", 600), ("cup;red", 200), ("", 200)):
        sides = counted(dataset, splits, name)
        assert abs(sides["test"] / images - 0.15) < 0.06, name
        assert abs(sides["val"] / images - 0.15) < 0.06, name


def test_every_label_of_three_images_reaches_every_side() -> None:
    # Each image has a combination of its own: `common` is never the rarest.
    labels = (
        [("common", f"rare {i}") for i in range(9)] + [("three", "common")] * 3 + [("two",)] * 2 + [("one",)]
    )
    dataset = dataset_of(labels)
    splits = assign_splits(dataset, ())
    assert set(counted(dataset, splits, "common")) == {"train", "val", "test"}
    assert set(counted(dataset, splits, "three")) == {"train", "val", "test"}
    assert counted(dataset, splits, "two") == {"train": 1, "val": 1}
    assert counted(dataset, splits, "one") == {"train": 1}


def test_copies_stay_together_and_names_decide() -> None:
    dataset = dataset_of([("a", "b"), ("b",)] * 30)
    copies = [Group((0, 1, 2), "exact"), Group((10, 31), "near")]
    splits = assign_splits(dataset, copies)
    assert splits[0] == splits[1] == splits[2]
    assert splits[10] == splits[31]
    more = dataset_of([*(one.holding for one in dataset.examples), *[("a", "b"), ("b",)] * 5])
    moved = sum(a != b for a, b in zip(splits, assign_splits(more, copies), strict=False))
    assert moved <= 4

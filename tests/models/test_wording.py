from __future__ import annotations

import pytest

from models.wording import counted, differences, listed


@pytest.mark.parametrize(
    ("count", "word", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2000, "image", "2,000 images"),
        (2, "class", "2 classes"),
    ],
)
def test_counted(count: int, word: str, text: str) -> None:
    assert counted(count, word) == text


def test_many_names_are_cut_and_the_rest_is_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdef"), 3) == "a, b, c and 3 more"


def test_differences_are_named_by_their_way() -> None:
    old, new = {"b": {"x": 1, "y": 2}, "a": 0}, {"b": {"x": 1, "y": 3}, "a": None}
    assert list(differences(old, new)) == ["a was 0, is None", "b.y was 2, is 3"]
    assert not list(differences(old, old))

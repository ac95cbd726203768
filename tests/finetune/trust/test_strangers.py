"""Images that are none of anybody's classes: the same everywhere, different from one another, quick to make."""

from __future__ import annotations

import numpy as np
import pytest

from feature_extraction.items import read_item
from finetune.trust.strangers import KINDS, OF_A_KIND, SIDE, photos_at_hand, rendered
from models.preprocessing import Preprocessing

# Of the fourth image of each kind: red, green, blue.
MEANS = [
    [195, 113, 104],
    [86, 102, 93],
    [128, 128, 128],
    [51, 173, 15],
    [114, 172, 46],
    [25, 25, 25],
    [206, 206, 206],
]
AS_THEY_ARE = Preprocessing((SIDE, SIDE))


def test_each_kind_has_its_images_and_no_two_are_alike() -> None:
    strangers = rendered()
    assert [one.kind for one in strangers] == [kind for kind in KINDS for _ in range(OF_A_KIND)]
    assert len({one.item.id for one in strangers}) == len(strangers)
    contents = {read_item(one.item) for series in (0, 1) for one in rendered(series)}
    # Black, white and grey are in every series.
    assert len(contents) == 2 * len(strangers) - 3


def test_they_are_the_same_on_every_machine() -> None:
    means = [
        AS_THEY_ARE.load(read_item(one.item), name=one.item.id).mean(axis=(0, 1))
        for one in rendered()[3::OF_A_KIND]
    ]
    # Versions of Pillow differ by less in how they resize.
    np.testing.assert_allclose(means, MEANS, atol=1)


def test_photos_are_those_of_installed_packages() -> None:
    pytest.importorskip("skimage", reason="photos come with scikit-image")
    names = {one.item.id for one in photos_at_hand()}
    assert {"sklearn/china.jpg", "skimage/coffee.png"} <= names
    for one in photos_at_hand():
        assert AS_THEY_ARE.load(read_item(one.item), name=one.item.id).shape == (SIDE, SIDE, 3)

"""Views: the same in every run, mild, and the image itself at number 0."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from finetune.backbone import views as module
from finetune.backbone.views import View, views
from tests.fixtures import photo

DIGEST = hashlib.sha256(b"a photo").digest()


def pixels(view: View, image: Image.Image, digest: bytes = DIGEST) -> np.ndarray:
    return np.asarray(view.apply(image, digest))


def test_number_0_is_the_image_as_it_is() -> None:
    image = photo()
    first, *others = views(3, seed=5)
    assert first.apply(image, DIGEST) is image
    assert first.digest(DIGEST) == DIGEST
    assert [view.number for view in others] == [1, 2]


def test_view_depends_on_seed_image_and_number_alone() -> None:
    image = photo((200, 150))
    one = pixels(View(0, 1), image)
    pixels(View(3, 4), image)
    assert np.array_equal(one, pixels(View(0, 1), image))
    for other in (
        pixels(View(1, 1), image),
        pixels(View(0, 2), image),
        pixels(View(0, 1), image, DIGEST[::-1]),
    ):
        assert one.shape != other.shape or not np.array_equal(one, other)


def test_view_is_the_same_for_all_time() -> None:
    """The cache holds what was made before; who changes how views are made changes `_RECIPE`."""
    view = View(0, 1).apply(photo((200, 150)), DIGEST)
    assert view.size == (167, 147)
    np.testing.assert_allclose(np.asarray(view).mean(axis=(0, 1)), [123.04, 126.13, 119.49], atol=0.05)
    assert View(0, 1).digest(DIGEST).hex()[:16] == "8569c4b3c13fe010"


def test_digests_differ_wherever_pixels_may() -> None:
    known = {View(s, n, flip=f).digest(DIGEST) for s in range(3) for n in range(1, 4) for f in (True, False)}
    assert len(known) == 18
    assert View(0, 1).digest(DIGEST[::-1]) not in known


def test_crop_lies_inside_and_shows_most_of_the_image() -> None:
    parts, proportions, corners = [], [], []
    for draw in np.random.default_rng(0).random((500, 4)):
        left, top, right, bottom = module._box((400, 300), *draw)
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        parts.append((right - left) * (bottom - top) / 120_000)
        proportions.append((right - left) / (bottom - top) * 3 / 4)
        corners.append((left, top))
    assert 0.59 < min(parts) < 0.65
    assert 0.95 < max(parts) <= 1
    assert 0.74 < min(proportions) < 0.8
    assert 1.25 < max(proportions) < 1.35
    assert len(set(corners)) > 300


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2)])
def test_smallest_images_have_views(size: tuple[int, int]) -> None:
    for view in views(20, seed=0):
        assert min(view.apply(Image.new("RGB", size), DIGEST).size) >= 1


def test_half_of_the_views_are_mirrored_unless_it_is_switched_off() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (100, 1, 3)))

    def mirrored(view: View) -> bool:
        row = pixels(view, ramp)[0, :, 0].astype(int)
        return bool(row[0] > row[-1])

    assert 30 < sum(mirrored(View(0, n)) for n in range(1, 101)) < 70
    assert not any(mirrored(View(0, n, flip=False)) for n in range(1, 101))


@pytest.mark.parametrize("factors", [(1.2, 1, 1), (1, 0.8, 1), (1, 1, 1.2), (0.9, 1.1, 0.8)], ids=str)
def test_colours_are_those_of_pillows_enhancers(factors: tuple[float, float, float]) -> None:
    quiet = Image.fromarray((np.asarray(photo()) // 2 + 50).astype(np.uint8))  # so that nothing is clipped
    brightness, contrast, saturation = factors
    expected = ImageEnhance.Brightness(quiet).enhance(brightness)
    expected = ImageEnhance.Contrast(expected).enhance(contrast)
    expected = ImageEnhance.Color(expected).enhance(saturation)
    found = np.asarray(module._recoloured(quiet, *factors)).astype(int)
    assert np.abs(found - np.asarray(expected)).max() <= 3, "Pillow rounds down after each step"


def test_colours_that_do_not_change_are_left_alone() -> None:
    image = photo()
    assert np.array_equal(np.asarray(module._recoloured(image, 1, 1, 1)), np.asarray(image))

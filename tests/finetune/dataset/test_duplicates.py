import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from feature_extraction.items import ImageItem
from finetune.dataset.duplicates import Group, duplicate_groups
from finetune.dataset.examples import Example
from finetune.dataset.matching import candidates_by_cosine
from finetune.dataset.scanning import scan
from tests.fixtures import encoded, photo

ORIGINAL = encoded(photo((320, 240), 1), "JPEG", quality=92)
OTHERS = [encoded(photo((320, 240), seed), "JPEG") for seed in range(2, 12)]


def facts(*contents):
    return scan([Example(ImageItem(str(i), lambda c=c: c)) for i, c in enumerate(contents)])


def altered(image: Image.Image, quality: int = 90) -> bytes:
    return encoded(image.convert("RGB"), "JPEG", quality=quality)


def opened() -> Image.Image:
    return Image.open(io.BytesIO(ORIGINAL))


COPIES = {
    "re-encoded": lambda: altered(opened(), 40),
    "as png": lambda: encoded(opened()),
    "half": lambda: altered(opened().resize((160, 120))),
    "larger": lambda: altered(opened().resize((480, 360))),
    "cropped": lambda: altered(opened().crop((8, 6, 312, 234))),
    "cropped at a corner": lambda: altered(opened().crop((0, 0, 304, 228))),
    "mirrored": lambda: altered(ImageOps.mirror(opened())),
    "mirrored and cropped": lambda: altered(ImageOps.mirror(opened()).crop((8, 6, 312, 234)), 60),
}


@pytest.mark.parametrize("kind", COPIES)
def test_altered_copies_are_found(kind):
    assert duplicate_groups(facts(*OTHERS, ORIGINAL, COPIES[kind]())) == [Group((10, 11), "near")]


def test_same_bytes_are_exact_and_join_their_near_copies():
    assert duplicate_groups(facts(ORIGINAL, *OTHERS[:2], ORIGINAL)) == [Group((0, 3), "exact")]
    assert duplicate_groups(facts(ORIGINAL, ORIGINAL, altered(opened(), 40))) == [Group((0, 1, 2), "near")]


def test_embeddings_propose_what_hashes_miss(monkeypatch):
    monkeypatch.setattr("finetune.dataset.matching.DCT_BITS", -1)
    monkeypatch.setattr("finetune.dataset.matching.GRADIENT_BITS", -1)
    known = facts(ORIGINAL, altered(opened().crop((0, 0, 288, 216))), *OTHERS)
    assert duplicate_groups(known) == []
    embeddings = np.eye(len(known), dtype=np.float32)
    embeddings[1] = embeddings[0]
    embeddings[5] = np.nan
    assert duplicate_groups(known, embeddings) == [Group((0, 1), "near")]


def test_pixels_decide_over_embeddings():
    assert duplicate_groups(facts(*OTHERS), np.ones((len(OTHERS), 4), np.float32)) == []


def test_other_colour_is_no_copy():
    green = Image.merge("RGB", [channel.point(lambda v: v // 2) for channel in opened().split()])
    assert duplicate_groups(facts(ORIGINAL, altered(green))) == []


def test_small_drawings_are_compared_as_they_are():
    pixels = np.full((28, 28, 3), 255, np.uint8)
    pixels[4:24, 6:9] = 0  # an L
    pixels[21:24, 6:20] = 0
    noisy = pixels.copy()
    noisy[0, 0] = 250
    groups = duplicate_groups(facts(pixels, pixels[:, ::-1].copy(), noisy))
    assert groups == [Group((0, 2), "near")]


def test_unreadable_images_are_no_copies():
    known = facts(b"broken", b"broken", ORIGINAL)
    assert [one.error is None for one in known] == [False, False, True]
    assert "not an image" in str(known[0].error)
    assert duplicate_groups(known) == []
    assert duplicate_groups([]) == []


def test_facts():
    (one, array) = facts(encoded(Image.new("L", (40, 30)), "PNG"), np.zeros((5, 6, 3), np.uint8))
    assert (one.width, one.height, one.mode, one.format) == (40, 30, "L", "PNG")
    assert (array.width, array.height, array.format, array.bytes) == (6, 5, "array", 90)


def test_each_image_is_read_once():
    reads = []
    examples = [Example(ImageItem(str(i), lambda i=i: reads.append(i) or OTHERS[i])) for i in range(5)]
    heard = []
    scan(examples, threads=3, progress=lambda done, total: heard.append((done, total)))
    assert sorted(reads) == list(range(5))
    assert heard == [(i + 1, 5) for i in range(5)]


def test_images_that_are_all_alike_do_not_become_all_pairs(monkeypatch):
    monkeypatch.setattr("finetune.dataset.matching._MOST", 2)
    monkeypatch.setattr("finetune.dataset.matching._BLOCK", 16)
    monkeypatch.setattr("finetune.dataset.matching._ROWS", 4)
    monkeypatch.setattr("finetune.dataset.matching._PORTION", 50)
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pages = [encoded(Image.fromarray(pixels + np.uint8(i))) for i in range(6)]
    known = facts(*pages, *OTHERS, ORIGINAL, altered(opened(), 40))
    cosines = candidates_by_cosine(np.ones((40, 3), np.float32))
    assert sum(map(len, cosines)) <= 2 * 40 * 3  # of 780: two for each row of three blocks
    alike = np.ones((len(known), 3), np.float32)  # as features from the middle of a network
    assert duplicate_groups(known, alike) == [Group((0, 1, 2, 3, 4, 5), "near"), Group((16, 17), "near")]

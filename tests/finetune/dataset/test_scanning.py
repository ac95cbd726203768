"""What is noted of images, and that it is remembered by their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_extraction.byte_store import ByteStore
from feature_extraction.items import ImageItem, file_item
from finetune.dataset import scanning
from finetune.dataset.examples import Example
from finetune.dataset.scanning import scan
from tests.fixtures import encoded, photo


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    for seed in range(3):
        (tmp_path / f"{seed}.jpg").write_bytes(encoded(photo(seed=seed), "JPEG"))
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    return [Example(file_item(str(path))) for path in sorted(tmp_path.glob("*.jpg"))]


def test_facts_of_readable_and_broken_images(examples: list[Example]) -> None:
    *good, broken = scan(examples)
    assert [(facts.width, facts.height, facts.mode, facts.format, facts.error) for facts in good] == [
        (64, 48, "RGB", "JPEG", None)
    ] * 3
    assert len({facts.digest for facts in good}) == 3
    assert broken.error is not None
    assert "not an image" in broken.error


def test_what_is_known_is_not_decoded_again(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ByteStore(tmp_path / "facts.sqlite", 10**7)
    first = scan(examples, store=store)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(scanning, "_facts", refuse)
    monkeypatch.setattr(store, "put", refuse)  # nor written again
    good = [example for example in examples if "broken" not in example.item.id]
    again = scan([*good, Example(ImageItem("copy", good[0].item.read))], store=store)
    store.close()
    assert again[:3] == first[:3]
    assert again[3] == first[0]
    for now, before in zip(again, [*first[:3], first[0]], strict=True):
        np.testing.assert_array_equal(now.pixels, before.pixels)

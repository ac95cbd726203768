"""The account of images that a model was asked about."""

from __future__ import annotations

import pytest

from feature_extraction.items import ImageItem
from finetune.trust.asking import Asking
from models.errors import InputError
from models.model import Model
from tests.fixtures import plain


def shown(*images: bytes) -> list[tuple[ImageItem, int]]:
    return [(ImageItem(str(i), lambda data=data: data), i) for i, data in enumerate(images)]


def test_batches_without_an_image_are_passed_over_and_counted(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "batch_size", 2)
    heard: list[tuple[int, int]] = []
    items = shown(b"broken", b"broken", plain("red"), b"broken", plain("blue"))
    asking = Asking(tiny, items, "images", 1, lambda done, total: heard.append((done, total)))
    assert [[tag for _, tag in batch.good] for batch in asking.batches()] == [[2], [4]]
    account = asking.account()
    assert account.images == 2
    assert [name for name, _ in account.failed] == ["0", "1", "3"]
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert account.images_per_second == account.images / account.seconds


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ((), "read out of 0; expected photos. The first: there was none"),
        ((b"broken",), "read out of 1; .* 0: not"),
    ],
)
def test_not_one_image_is_an_error(tiny: Model, images: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list(Asking(tiny, shown(*images), "photos", 1, None).batches())

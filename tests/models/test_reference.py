"""What a file tells of its training images, and entries that nobody of ours wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.errors import ModelError
from models.reference import Reference, read_reference

WIDTH, ROWS = 4, 60


def reference() -> Reference:
    random = np.random.default_rng(0)
    rows = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    covariance = np.cov(rows.astype(np.float64), rowvar=False)
    classes = np.repeat(np.arange(3), (30, 20, 10))
    frequencies = random.normal(size=(WIDTH, 2))
    return Reference(
        ROWS, "validation images", (30, 20, 10), rows.mean(0).astype(np.float64), covariance, rows, classes,
        frequencies, np.array([0.1, 2.0]),
    )  # fmt: skip


def test_an_entry_comes_back_as_it_was_written() -> None:
    written = reference()
    again = read_reference({"graft.reference": written.to_json()})
    assert again is not None
    assert again.to_json() == written.to_json()
    assert read_reference({}) is None


def test_features_are_the_projection_and_cosines_of_it_within_bounds() -> None:
    known = reference()
    features = known.features(np.array([[1.0, 2.0, -3.0, 0.0], [1e9, -1e9, 0.0, 0.0]]))
    assert features.shape == (2, 6)
    assert features[0, :4].tolist() == [1.0, 2.0, -3.0, 0.0]
    assert features[1, :4].tolist() == [6.0, -6.0, 0.0, 0.0]
    expected = 2**0.5 * np.cos(np.array([1.0, 2.0, -3.0, 0.0]) @ known.frequencies[:, 0] + 0.1)
    assert features[0, 4] == pytest.approx(expected)


@pytest.mark.parametrize("change", [
    {"format": 0}, {"images": -1}, {"images": 2.5}, {"counts": [1, 2]}, {"images": 10**6}, {"counts": None},
    {"mean": 3}, {"counts": [50, 10]}, {"counts": [60, 0, 0, 0], "classes": None},
    {"sample": {"shape": [1 << 30, 4], "data": ""}}, {"phases": {"shape": [0], "data": "eNoDAAAAAAE="}},
])  # fmt: skip
def test_a_damaged_entry_is_refused(change: dict[str, object]) -> None:
    values = json.loads(reference().to_json()) | change
    with pytest.raises(ModelError, match="what it says of its training images cannot be read"):
        Reference.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "3"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        Reference.from_json(text)


def test_a_later_format_says_to_update() -> None:
    values = json.loads(reference().to_json()) | {"format": 2}
    with pytest.raises(
        ModelError,
        match=r"training images: format 2; this version reads 1\. Update graft",
    ):
        Reference.from_json(json.dumps(values))

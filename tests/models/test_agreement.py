"""How two versions of a network differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.agreement import compare, cosine
from models.errors import ModelError
from models.model import Model
from models.runtime import RuntimeConfig

CPU = RuntimeConfig(device="cpu", threads=1)


def test_of_a_network_with_itself_finds_no_difference(tiny: Model) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8))
    comparison = compare(tiny, tiny, images)
    assert (comparison.images, comparison.agreement) == (10, 1.0)
    assert comparison.cosine == pytest.approx(1)
    assert min(comparison.speed_before, comparison.speed_after) > 0


def test_needs_images_and_something_in_common(tiny: Model, tiny_path: Path) -> None:
    with pytest.raises(ModelError, match="no held-out image"):
        compare(tiny, tiny, [])
    with pytest.raises(ModelError, match="no output in common"):
        compare(tiny, Model.open(tiny_path, CPU, outputs=["scaled"]), [])


def test_cosine_is_that_of_the_angle() -> None:
    a = np.array([[1, 0], [1, 1], [0, 0], [2, 0]], np.float32)
    b = np.array([[0, 3], [1, 0], [0, 0], [-1, 0]], np.float32)
    assert cosine(a, b) == pytest.approx([0, 0.5**0.5, 1, -1])

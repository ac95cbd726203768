"""What numbers are pixels, and which outputs of a model are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InputError
from models.model import Model
from models.runtime import RuntimeConfig
from service.protocols.views import outputs_of, to_pixels
from tests.models.nets import residual_net
from tests.tuned import tuned_classifier, tuned_regression

SIZE = (1, 2)


def pixels(*values: float, dtype: Any = np.float32, whole: bool = False) -> list[int]:
    (image,) = to_pixels(np.array(values, dtype).reshape(1, *SIZE, 3), SIZE, "image", whole=whole)
    assert image.dtype == np.uint8
    return image.ravel().tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float16, np.float32, np.float64])
def test_pixels_of_every_kind(dtype: Any) -> None:
    assert pixels(0, 1, 2, 128, 254, 255, dtype=dtype) == [0, 1, 2, 128, 254, 255]


def test_fractions_are_rounded() -> None:
    assert pixels(0.4, 0.6, 1.5, 2.5, 254.6, 255) == [0, 1, 2, 2, 255, 255]


def test_black_is_black_and_whole_numbers_may_be_small() -> None:
    assert pixels(0, 0, 0, 0, 0, 0) == [0] * 6
    assert pixels(0, 1, 0, 1, 0, 1, dtype=np.int32, whole=True) == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((-1, 0, 0, 0, 0, 1), r"image\[0\] holds numbers from -1 to 1; expected pixels from 0 to 255"),
        ((0, 0, 0, 0, 0, 256), "from 0 to 256; expected pixels from 0 to 255"),
        ((np.nan, 0, 0, 0, 0, 9), "from nan to nan; expected pixels"),
        ((np.inf, 0, 0, 0, 0, 9), "from 0 to inf; expected pixels"),
        ((0.1, 0.5, 0, 0, 0, 1), r"from 0 to 1, as if they were scaled to 0\.\.1"),
        ((0, 1, 0, 1, 0, 1), r"as if they were scaled to 0\.\.1"),
    ],
)
def test_numbers_that_are_no_pixels(values: tuple[float, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        pixels(*values)


@pytest.mark.parametrize("shape", [(1, 3, 1, 2), (1, 2, 3), (1, 2, 1, 3), (6,)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \[N, 1, 2, 3\]: pixels in RGB, channels last"):
        to_pixels(np.zeros(shape, np.uint8), SIZE, "image", whole=True)


def opened(path: Path) -> Model:
    return Model.open(path, RuntimeConfig(device="cpu", threads=1))


def test_outputs_of_classifiers(tmp_path: Path) -> None:
    model = opened(tuned_classifier(tmp_path))
    answer, *others = outputs_of(model, "all")
    assert (answer.name, answer.dtype, answer.shape) == ("probabilities", np.float32, (3,))
    assert {other.name: other.shape for other in others} == {"logits": (3,), "reject_score": (1,)}
    assert outputs_of(model, "answer") == [answer]


def test_outputs_of_a_regression_and_of_a_network_without_classes(tmp_path: Path) -> None:
    (value,) = outputs_of(opened(tuned_regression(tmp_path)), "answer")
    assert (value.name, value.shape) == ("value", (1,))
    (features,) = outputs_of(opened(residual_net(tmp_path / "net.onnx", end="features")), "answer")
    assert features.name == "out"

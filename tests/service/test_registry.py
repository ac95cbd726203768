"""Names of models, and the swap that nobody notices."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError, OverloadedError, UnknownModelError
from service.config import ServiceConfig
from service.decoding import Caller
from service.registry import Registry
from service.served import Served

NO_HURRY = Caller(math.inf)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("builtin",), ["graft-mini"]),
        (("inception_v3", "graft-mini"), ["inception_v3.torchvision", "graft-mini"]),
        (("folder/birds.onnx",), ["birds"]),
        (("cats=folder/model.onnx", "dogs=other/model.onnx"), ["cats", "dogs"]),
    ],
)
def test_names(models: tuple[str, ...], names: list[str]) -> None:
    registry = Registry(ServiceConfig(models=models))
    assert list(registry.specs) == names
    assert registry.default == names[0]


def test_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "lr=0.1.onnx"
    path.touch()
    assert list(Registry(ServiceConfig(models=(str(path),))).specs.values()) == [str(path)]


@pytest.mark.parametrize("models", [("a/x.onnx", "b/x.onnx"), ("builtin", "graft-mini")])
def test_two_of_one_name_are_refused(models: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="two models are called"):
        Registry(ServiceConfig(models=models))


def test_missing_model_is_an_error_of_loading(config: ServiceConfig, tmp_path: Path) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(tmp_path / "gone.onnx"),)))
    with pytest.raises(UnknownModelError, match="no such file"):
        registry.load()
    assert registry.loading == ["gone"]


def test_new_model_takes_the_place_of_the_old_while_it_is_used(registry: Registry) -> None:
    images = [np.zeros((16, 16, 3), np.uint8)]
    with registry.use("tiny") as old:
        new = Served("tiny", "elsewhere", old.model, registry.config)
        registry.put(new)
        assert registry.get("tiny") is new
        assert len(old.results(images, NO_HURRY)) == 1
    assert not old.enter()
    with pytest.raises(OverloadedError, match="wait for the model"):
        old.results(images, NO_HURRY)
    assert registry.default == "tiny"


def test_many_images_run_in_parts_that_suit_the_device(registry: Registry) -> None:
    served = registry.get("tiny")
    shades = np.arange(21, dtype=np.uint8)
    images = [np.full((16, 16, 3), shade, np.uint8) for shade in shades]
    assert served.plan.largest < 21
    vectors = served.vectors(images, served.feature_model("pool"), NO_HURRY)
    np.testing.assert_allclose(np.stack(vectors)[:, 0], shades / 255, rtol=1e-6)
    assert len(served.results(images, NO_HURRY)) == 21

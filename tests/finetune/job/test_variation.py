"""A network whose features do not vary is noticed before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetune.dataset.opening import open_dataset
from finetune.job.observing import Observer
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.job.variation import variation_warnings
from models.errors import ModelError
from tests.finetune.shades import folder_of
from tests.models.nets import node, save

VECTORS = np.random.default_rng(1).standard_normal((20, 50)).astype(np.float32)


def test_features_that_vary_need_no_word() -> None:
    assert variation_warnings(VECTORS, True, "net", "pool") == []


def test_features_of_which_few_vary_are_told() -> None:
    vectors = np.concatenate([VECTORS[:, :3], np.full((20, 47), 2.5, np.float32)], axis=1)
    (text,) = variation_warnings(vectors, True, "net", "pool")
    assert text.startswith("only 3 of the network's 50 features at pool differ from image to image")


def test_features_that_all_vary_by_little_are_told() -> None:
    (text,) = variation_warnings(np.float32(10) + VECTORS * np.float32(1e-4), True, "net", "pool")
    assert text.startswith("the network's features at pool differ from image to image by 1e-05 of their size")


@pytest.mark.parametrize("value", [0.0, 3.25])
def test_features_that_are_constant_but_for_rounding_are_refused(value: float) -> None:
    vectors = np.full((20, 50), value, np.float32) + VECTORS * np.float32(1e-8 * value)
    with pytest.raises(ModelError, match="net: gives the same 50 features at pool for all 20 images"):
        variation_warnings(vectors, True, "net", "pool")


def test_images_that_are_all_the_same_are_not_the_networks_fault() -> None:
    assert variation_warnings(np.zeros((20, 50), np.float32), False, "net", "pool") == []


def test_finetune_stops_before_it_trains(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", ["x", "axes"], ["share"], keepdims=0),
        node("MatMul", ["share", "nothing"], ["features"]),
        node("MatMul", ["features", "head"], ["out"]),
    ]
    weights = {
        "axes": np.int64([2, 3]),
        "nothing": np.zeros((3, 8), np.float32),
        "head": np.ones((8, 5), np.float32),
    }
    path = save(tmp_path / "net.onnx", nodes, weights)
    photos = folder_of(tmp_path / "shades")
    stages: list[str] = []

    class Listener(Observer):
        def begin(self, stage: str, total: int | None = None) -> None:
            stages.append(stage)

    recipe = Recipe(model=str(path), method="head", views=1, cut="features")
    with pytest.raises(ModelError, match="gives the same 8 features at features for all"):
        finetune(
            open_dataset(photos, recipe.task),
            recipe,
            tmp_path / "out",
            device="cpu",
            threads=1,
            observer=Listener(),
        )
    assert "features" in stages
    assert "train" not in stages

"""Sharing the cores: every way has a turn, the fastest has the rest, and no vector is lost or differs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from feature_extraction import tuning
from feature_extraction.pipeline import Split
from feature_extraction.reading import ImageItem
from feature_extraction.tuning import Tuning, candidates, tuned
from models.features import FeatureModel, FeatureOptions, open_features
from tests.feature_extraction.running import CPU, shades

SPLITS = [Split(2, 1, 2), Split(2, 2, 1)]


@pytest.fixture
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(), CPU)


def test_candidates_use_all_cores() -> None:
    assert candidates("cpu", None, 1) == [Split(1, 1, 1)]
    assert candidates("cpu", None, 2) == [Split(2, 1, 2), Split(2, 2, 1)]
    assert candidates("cpu", None, 16) == [Split(16, 1, 16), Split(16, 4, 4)]
    assert candidates("cpu", 3, 16) == [Split(16, 1, 3)]
    assert candidates("cuda", None, 16) == [Split(16, 2, None)]


def test_all_vectors_are_kept_and_the_faster_way_has_the_rest(
    features: FeatureModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(tuning, "TRIAL", 5)
    chosen = Tuning()
    batches = list(
        tuned(
            features,
            shades(100),
            batch_size=4,
            splits=SPLITS,
            tuning=chosen,
            clock=lambda: float(next(ticks)),
        )
    )
    assert [name for batch in batches for name in batch.ids] == [str(i) for i in range(100)]
    assert [len(batch.names) for batch in batches] == [4] * 25
    assert np.allclose(
        np.concatenate([b.arrays["pool"] for b in batches])[:, 0] * 255, np.arange(100), atol=1e-3
    )
    assert set(chosen.rates) == set(SPLITS)
    assert chosen.split == max(chosen.rates, key=chosen.rates.__getitem__)


@pytest.mark.parametrize("count", [0, 3, 8, 9])
def test_few_images_are_not_worth_a_choice(features: FeatureModel, count: int) -> None:
    chosen = Tuning()
    batches = list(tuned(features, shades(count), batch_size=4, splits=SPLITS, tuning=chosen))
    assert sum(len(batch.names) for batch in batches) == count
    assert chosen.split == SPLITS[0]
    assert list(chosen.rates) == SPLITS[:1]


def test_single_candidate_has_no_turn(features: FeatureModel) -> None:
    chosen = Tuning()
    batches = tuned(features, iter(shades(9)), batch_size=4, splits=[Split(1, 1, 1)], tuning=chosen)
    assert [len(batch.names) for batch in batches] == [4, 4, 1]
    assert (chosen.rates, chosen.split) == ({}, Split(1, 1, 1))


def test_images_before_a_break_of_the_source_are_not_lost(features: FeatureModel) -> None:
    stream = itertools.chain(shades(6), (1 / 0 for _ in "x"))  # type: ignore[arg-type]
    batches = tuned(features, stream, batch_size=4, splits=SPLITS)  # type: ignore[arg-type]
    assert [next(batches).ids, next(batches).ids] == [["0", "1", "2", "3"], ["4", "5"]]
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        next(batches)


def test_error_of_the_source_is_heard(features: FeatureModel) -> None:
    def broken() -> itertools.chain[ImageItem]:
        return itertools.chain(shades(2), (1 / 0 for _ in "x"))  # type: ignore[arg-type]

    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(tuned(features, broken(), batch_size=1, splits=SPLITS))

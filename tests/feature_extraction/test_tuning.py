"""Sharing the cores: every way has a turn, the fastest has the rest, and no vector is lost or differs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from feature_extraction import tuning
from feature_extraction.items import ImageItem
from feature_extraction.pipeline import Allocation
from feature_extraction.tuning import Tuning, candidates, run_tuned
from models.features import FeatureModel, FeatureOptions, open_features
from tests.feature_extraction.running import CPU, shades

ALLOCATIONS = [Allocation(2, 1, 2), Allocation(2, 2, 1)]


@pytest.fixture
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(), CPU)


def test_candidates_use_all_cores() -> None:
    assert candidates("cpu", None, 1) == [Allocation(1, 1, 1)]
    assert candidates("cpu", None, 2) == [Allocation(2, 1, 2), Allocation(2, 2, 1)]
    assert candidates("cpu", None, 16) == [Allocation(16, 1, 16), Allocation(16, 4, 4)]
    assert candidates("cpu", 3, 16) == [Allocation(16, 1, 3)]
    assert candidates("cuda", None, 16) == [Allocation(16, 2, None)]


def test_all_vectors_are_kept_and_the_faster_way_has_the_rest(
    features: FeatureModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(tuning, "TRIAL", 5)
    chosen = Tuning()
    batches = list(
        run_tuned(
            features,
            shades(100),
            batch_size=4,
            allocations=ALLOCATIONS,
            tuning=chosen,
            clock=lambda: float(next(ticks)),
        )
    )
    assert [name for batch in batches for name in batch.ids] == [str(i) for i in range(100)]
    assert [len(batch.names) for batch in batches] == [4] * 25
    assert np.allclose(
        np.concatenate([b.arrays["pool"] for b in batches])[:, 0] * 255, np.arange(100), atol=1e-3
    )
    assert set(chosen.rates) == set(ALLOCATIONS)
    assert chosen.allocation == max(chosen.rates, key=chosen.rates.__getitem__)


@pytest.mark.parametrize("count", [0, 3, 8, 9])
def test_few_images_are_not_worth_a_choice(features: FeatureModel, count: int) -> None:
    chosen = Tuning()
    batches = list(run_tuned(features, shades(count), batch_size=4, allocations=ALLOCATIONS, tuning=chosen))
    assert sum(len(batch.names) for batch in batches) == count
    assert chosen.allocation == ALLOCATIONS[0]
    assert list(chosen.rates) == ALLOCATIONS[:1]


def test_single_candidate_has_no_turn(features: FeatureModel) -> None:
    chosen = Tuning()
    batches = run_tuned(
        features, iter(shades(9)), batch_size=4, allocations=[Allocation(1, 1, 1)], tuning=chosen
    )
    assert [len(batch.names) for batch in batches] == [4, 4, 1]
    assert (chosen.rates, chosen.allocation) == ({}, Allocation(1, 1, 1))


def test_images_before_a_break_of_the_source_are_not_lost(features: FeatureModel) -> None:
    stream = itertools.chain(shades(6), (1 / 0 for _ in "x"))  # type: ignore[arg-type]
    batches = run_tuned(features, stream, batch_size=4, allocations=ALLOCATIONS)  # type: ignore[arg-type]
    assert [next(batches).ids, next(batches).ids] == [["0", "1", "2", "3"], ["4", "5"]]
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        next(batches)


def test_error_of_the_source_is_heard(features: FeatureModel) -> None:
    def broken() -> itertools.chain[ImageItem]:
        return itertools.chain(shades(2), (1 / 0 for _ in "x"))  # type: ignore[arg-type]

    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(run_tuned(features, broken(), batch_size=1, allocations=ALLOCATIONS))

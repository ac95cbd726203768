"""None of these: honest AUROC, thresholds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.trust import novelty
from finetune.trust.measures import auroc, auroc_error
from finetune.trust.novelty import KINDS, Space
from finetune.trust.rejection import HeldPart, Rejector, fit_rejector, fit_spaces
from models.errors import InputError, NumericsError
from tests.finetune.trust.blobs import Floats, blobs, logits_of


def blobs_held() -> tuple[Floats, Floats, NDArray[np.int64]]:
    val, y_val = blobs(60, seed=1)
    return val, logits_of(val), y_val


def fitted(classes: int = 4, noise: float = 0.25, **options: object) -> Rejector:
    train, y_train = blobs(200, classes, noise=noise)
    val, y_val = blobs(60, classes, seed=1, noise=noise)
    return fit_rejector(train, y_train, [HeldPart(train, y_train, val, logits_of(val), y_val)], **options)  # type: ignore[arg-type]


class TestSpacesBeforehand:
    def test_they_change_nothing(self) -> None:
        train, y_train = blobs(200)
        val, y_val = blobs(60, seed=1)
        parts = [
            HeldPart(train[some], y_train[some], val[held], logits_of(val[held]), y_val[held])
            for some, held in ((slice(0, 160), slice(0, 30)), (slice(40, 200), slice(30, 60)))
        ]
        nothing = [dataclasses.replace(part, logits=part.logits[:, :0]) for part in parts]
        for unknown in (None, (val[::-1] + 1, logits_of(val))):
            spaces = fit_spaces(train, y_train, nothing, rounds=unknown is None)
            with_them, without = (
                fit_rejector(train, y_train, parts, unknown=unknown, spaces=one) for one in (spaces, None)
            )
            assert with_them == dataclasses.replace(without, arrays=with_them.arrays)
            for name, values in without.arrays.items():
                np.testing.assert_array_equal(with_them.arrays[name], values)

    @pytest.mark.parametrize(
        "changed", ["known", "known_y", "embeddings", "y", "groups", "whole", "parts", "seed"]
    )
    def test_those_of_other_images_are_not_used(self, changed: str) -> None:
        train, y_train = blobs(200)
        val, y_val = blobs(60, seed=1)
        groups = np.arange(60)
        part = HeldPart(train[:160], y_train[:160], val, logits_of(val), y_val, groups)
        spaces = fit_spaces(train, y_train, [part])
        assert spaces.are_of(train.copy(), y_train, [dataclasses.replace(part)], 0, rounds=True)
        other, whole, parts, seed = part, train, 1, 0
        if changed == "whole":
            whole = train + 1
        elif changed == "parts":
            parts = 2
        elif changed == "seed":
            seed = 1
        else:
            values = getattr(part, changed).copy()
            values[:2] = values[1::-1] + 1
            other = dataclasses.replace(part, **{changed: values})
        assert not spaces.are_of(whole, y_train, [other] * parts, seed, rounds=True)

    def test_nor_where_classes_were_not_held_out(self) -> None:
        train, y_train = blobs(200)
        part = HeldPart(train, y_train, *blobs_held())
        spaces = fit_spaces(train, y_train, [part], rounds=False)
        assert (
            fit_rejector(train, y_train, [part], spaces=spaces).auroc
            == fit_rejector(train, y_train, [part]).auroc
        )


class TestFit:
    def test_unknown_things_score_above_known_ones(self) -> None:
        rejector = fitted()
        new, _ = blobs(200, seed=7)
        unknown = np.random.default_rng(8).normal(0, 1, (200, 24)).astype(np.float32)
        known = rejector.score(new, logits_of(new)) > rejector.threshold
        assert known.mean() == pytest.approx(0.05, abs=0.05)
        assert (rejector.score(unknown, logits_of(unknown)) > rejector.threshold).mean() > 0.95

    def test_classes_are_held_out(self) -> None:
        rejector = fitted()
        assert rejector.measured == "by holding out one class at a time, 4 rounds"
        assert rejector.auroc is not None
        assert rejector.auroc > 0.95
        assert rejector.candidates.keys() == set(KINDS)

    def test_what_is_promised_has_an_interval_of_one_more_class(self) -> None:
        rejector = fitted(classes=12, noise=1.0)
        assert rejector.auroc is not None
        low, high = rejector.interval or (0, 0)
        assert low < rejector.auroc < high <= 1
        assert high - low < 0.3
        assert fitted(classes=1).interval is None

    def test_classes_that_are_told_perfectly_promise_no_certainty(self) -> None:
        """Of four classes with 65 images each, against 45 of the others: not 1.000 to 1.000."""
        rejector = fitted(noise=0.01)
        assert rejector.auroc == 1
        student = 3.18245  # of 3 degrees of freedom, 97.5 %
        half = student * np.sqrt((1 / 65 + 1 / 45) / 12 * (1 + 1 / 4))
        assert rejector.interval == pytest.approx((np.cos(half) ** 2, 1.0), abs=1e-5)

    def test_what_is_promised_falls_further_below_than_above(self) -> None:
        """Shares have no room above: where they are near 1, one more class may be much worse and hardly better."""
        rejector = fitted(classes=8, noise=1.3)
        assert rejector.auroc is not None
        low, high = rejector.interval or (0, 0)
        assert 0 < high - rejector.auroc < rejector.auroc - low
        assert high < 1

    def test_held_out_classes_do_not_choose(self) -> None:
        """What is best at missing classes may take anything else for known."""
        rejector = fitted(classes=5, noise=1.6)
        assert rejector.kind == "combined"
        assert max(rejector.candidates.values()) > rejector.candidates["combined"]

    def test_classes_that_cannot_be_told_apart_measure_as_chance(self) -> None:
        rejector = fitted(noise=1e4)
        assert rejector.auroc == pytest.approx(0.5, abs=0.1)

    def test_two_classes_leave_distances(self) -> None:
        rejector = fitted(classes=2)
        assert rejector.candidates.keys() == {"combined", "relative", "mahalanobis", "neighbour"}
        assert "distances only since one class remains" in rejector.measured

    def test_one_class_is_not_measured(self) -> None:
        rejector = fitted(classes=1)
        assert (rejector.auroc, rejector.kind) == (None, "combined")
        assert rejector.measured == "not measured: there is one class only"

    def test_many_classes_are_held_out_in_groups(self) -> None:
        assert fitted(classes=25).measured == "by holding out some classes at a time, 10 rounds"

    def test_unknown_images_measure_instead(self) -> None:
        unknown = np.random.default_rng(8).normal(0, 1, (30, 24)).astype(np.float32)
        rejector = fitted(unknown=(unknown, logits_of(unknown)))
        assert rejector.measured == "on 30 images that are none of the classes"
        assert rejector.auroc == rejector.candidates[rejector.kind]
        low, high = rejector.interval or (0, 0)
        assert low <= rejector.auroc <= high

    def test_better_kind_is_taken_where_that_is_sure(self) -> None:
        # Unknown images that lie among the known ones, and are told by their logits alone.
        unknown = blobs(60, seed=4)[0]
        assert fitted(unknown=(unknown, np.zeros((60, 4), np.float32))).kind in ("energy", "confidence")

    def test_logits_of_a_forest_have_no_energy(self) -> None:
        (train, y), (val, y_val) = blobs(200), blobs(60, seed=1)
        shares = np.log(np.full((60, 4), 0.25, np.float32))
        assert (
            not {"energy", "confidence"}
            & fit_rejector(train, y, [HeldPart(train, y, val, shares, y_val)]).candidates.keys()
        )

    @pytest.mark.parametrize(("keep", "passed"), [(0.5, 31), (0.9, 55), (0.95, 58), (0.999, 60)])
    def test_threshold_keeps_the_rank_of_conformal_prediction(self, keep: float, passed: int) -> None:
        rejector = fitted(keep=keep)
        val, _ = blobs(60, seed=1)
        below = rejector.score(val, logits_of(val)) <= rejector.threshold
        assert (below.sum(), rejector.kept) == (passed, below.mean())

    def test_new_images_are_rejected_as_often_as_asked_where_few_were_held_out_in_turn(self) -> None:
        """What is shipped knows the fifth of the images that each part lacked."""
        x, y = blobs(100, 5, width=300, noise=1.0)
        part = np.arange(100) // 5 % 5
        held = [
            HeldPart(x[part != i], y[part != i], x[part == i], x[part == i][:, :5], y[part == i])
            for i in range(5)
        ]
        rejector = fit_rejector(x, y, held, keep=0.9)
        new, _ = blobs(1000, 5, width=300, seed=7, noise=1.0)
        assert (rejector.score(new, new[:, :5]) > rejector.threshold).mean() == pytest.approx(0.1, abs=0.03)

    def test_copies_are_held_out_together(self) -> None:
        x, y = blobs(50, 5, width=300)
        x, y = np.repeat(x, 2, axis=0), np.repeat(y, 2)
        part = np.arange(100) // 10 % 5

        def fitted_with(groups: NDArray[np.int64] | None) -> Rejector:
            some = [np.flatnonzero(part == i) for i in range(5)]
            return fit_rejector(x, y, [
                HeldPart(x[part != i], y[part != i], x[rows], x[rows][:, :5], y[rows],
                         None if groups is None else groups[rows]) for i, rows in enumerate(some)
            ])  # fmt: skip

        new, _ = blobs(1000, 5, width=300, seed=7)
        together, apart = fitted_with(9 - np.arange(100) // 2), fitted_with(None)
        rejected = [(one.score(new, new[:, :5]) > one.threshold).mean() for one in (together, apart)]
        assert rejected[0] < 0.1 < 0.5 < rejected[1]

    def test_same_seed_same_arrays(self) -> None:
        first, second = fitted(seed=3), fitted(seed=3)
        assert dataclasses.replace(first, arrays={}) == dataclasses.replace(second, arrays={})
        for name, values in first.arrays.items():
            np.testing.assert_array_equal(values, second.arrays[name])

    def test_classes_of_one_image_each(self) -> None:
        x, y = blobs(5, 5)
        rejector = fit_rejector(x, y, [HeldPart(x, y, x, logits_of(x), y)])
        assert np.isfinite(rejector.score(x, logits_of(x))).all()

    def test_images_that_are_all_the_same(self) -> None:
        x, y = np.ones((6, 8), np.float32), np.arange(6) % 2
        assert np.isfinite(fit_rejector(x, y, [HeldPart(x, y, x, x[:, :2], y)]).threshold)

    def test_wide_and_many(self) -> None:
        """More than can be decomposed exactly in no time."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(0, 1, (2100, 2100)).astype(np.float32), np.arange(2100) % 2
        assert Space.fit(x, y).components.shape == (2100, novelty.COMPONENTS)

    def test_bad_input(self) -> None:
        x, y = blobs(8)
        with pytest.raises(InputError, match="keep is 1; expected the share"):
            fit_rejector(x, y, [HeldPart(x, y, x, logits_of(x), y)], keep=1)
        with pytest.raises(InputError, match="one image at least of each"):
            fit_rejector(x, y, [HeldPart(x, y, x[:0], logits_of(x[:0]), y[:0])])
        with pytest.raises(InputError, match="different widths"):
            fit_rejector(x, y, [HeldPart(x, y, x[:, :5], logits_of(x), y)])
        with pytest.raises(NumericsError, match="hold NaN"):
            fit_rejector(x, y, [HeldPart(x, y, x * np.float32(np.nan), logits_of(x), y)])


@pytest.mark.parametrize(
    ("known", "unknown", "expected"),
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [1, 2], 0.5),
        ([1, 3], [2], 0.5),
        ([1], [1, 2], 0.75),
    ],
)
def test_auroc(known: list[float], unknown: list[float], expected: float) -> None:
    assert auroc(np.array(known), np.array(unknown)) == expected


def test_error_of_an_auroc_is_that_of_other_images() -> None:
    rng = np.random.default_rng(0)
    draws = [(rng.normal(0, 1, 60), rng.normal(1, 1, 40)) for _ in range(300)]
    spread = np.std([auroc(*draw) for draw in draws])
    assert np.mean([auroc_error(*draw) for draw in draws]) == pytest.approx(spread, rel=0.1)
    known, unknown = draws[0]
    assert auroc_error(known, unknown, (3 * known, 3 * unknown)) == 0
    assert np.isnan(auroc_error(known[:1], unknown))


def test_rounding_is_what_a_millionth_makes_of_the_score() -> None:
    val, _ = blobs(60, seed=1)
    assert fitted().rounding(val, logits_of(val)) < 1e-4
    close, y = blobs(200)
    close = np.float32(10) + np.float32(1e-2) * close
    rejector = fit_rejector(close, y, [HeldPart(close, y, close, logits_of(close), y)])
    assert 1e-4 < rejector.rounding(close, logits_of(close)) < 1

"""None of these: scores in NumPy and ONNX, honest AUROC, thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from sklearn.covariance import ledoit_wolf

from feature_extraction import FeatureExtractor
from feature_extraction.items import read_item
from finetune.trust import novelty
from finetune.trust.measures import auroc, auroc_error
from finetune.trust.novelty import KINDS, Kind, Space, scaling, score, score_nodes, shrunk_covariance
from finetune.trust.rejection import HeldPart, Rejector, fit_rejector, fit_spaces
from finetune.trust.strangers import rendered
from models.errors import InputError, NumericsError
from models.opset import IR_VERSION, opset_imports
from models.runtime import OnnxSession, RuntimeConfig

Floats = NDArray[np.float32]
Data = tuple[Floats, NDArray[np.int64]]


def arrays_of(space: Space, kind: Kind, held: Floats) -> dict[str, Floats]:
    """What a score needs, weighed by some known embeddings."""
    return space.arrays(kind, scaling(space.parts(held)))


def blobs(n: int, classes: int = 4, width: int = 24, seed: int = 0, noise: float = 0.25) -> Data:
    """Points around `classes` directions of space, some of each."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, width))
    y = np.arange(n) % classes
    return (centres[y] + rng.normal(0, noise, (n, width))).astype(np.float32), y


def logits_of(x: Floats) -> Floats:
    return (3 * x[:, :4]).astype(np.float32)


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


class TestScores:
    def test_confidence_and_energy(self) -> None:
        logits = np.log(np.array([[0.7, 0.2, 0.1], [5.0, 3.0, 2.0]]))
        none = np.zeros((2, 1))
        np.testing.assert_allclose(score("confidence", {}, none, logits), [0.3, 0.5])
        np.testing.assert_allclose(score("energy", {}, none, logits), [0, -np.log(10)], atol=1e-12)

    def test_mahalanobis_is_the_distance_in_units_of_the_shared_covariance(self) -> None:
        x, y = blobs(400)
        space = Space.fit(x, y)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        means = np.stack([unit[y == c].mean(axis=0) for c in range(4)])
        covariance, _ = ledoit_wolf(unit - means[y], assume_centered=True)
        covariance += novelty._FLOOR * ((unit - unit.mean(axis=0)) ** 2).mean() * np.eye(24)
        apart = unit[:, None] - means
        expected = np.einsum("ncd,de,nce->nc", apart, np.linalg.inv(covariance), apart).min(axis=1)
        found = score("mahalanobis", arrays_of(space, "mahalanobis", x), x, x)
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    @pytest.mark.parametrize("kind", ["combined", "relative", "mahalanobis"])
    def test_embeddings_that_hardly_vary_are_not_measured_in_units_of_rounding(self, kind: Kind) -> None:
        x, y = blobs(60, width=64)
        x = 10 + 1e-5 * x.astype(np.float64)
        arrays = arrays_of(Space.fit(x, y), kind, x)
        rounded = x * (1 + 1e-7 * np.random.default_rng(3).standard_normal(x.shape))
        np.testing.assert_allclose(score(kind, arrays, rounded, x), score(kind, arrays, x, x), atol=1e-4)

    def test_neighbour_is_the_distance_to_the_nearest(self) -> None:
        x, y = blobs(100)
        other, _ = blobs(7, seed=5)
        a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (other, x))
        expected = np.linalg.norm(a[:, None] - b, axis=2).min(axis=1)
        found = score("neighbour", arrays_of(Space.fit(x, y), "neighbour", x), other, other)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_relative_takes_off_what_is_common(self) -> None:
        x, y = blobs(400)
        space = Space.fit(x, y)
        z = (novelty.unit(x) - space.mean) @ space.components @ space.whitening
        scatter = np.eye(z.shape[1]) + (space.centres.T / 4) @ space.centres
        common = np.einsum("nr,rs,ns->n", z, np.linalg.inv(scatter), z)
        expected = score("mahalanobis", arrays_of(space, "mahalanobis", x), x, x) - novelty.SHARE * common
        np.testing.assert_allclose(
            score("relative", arrays_of(space, "relative", x), x, x), expected, rtol=1e-4, atol=1e-3
        )

    @pytest.mark.parametrize("direct", [True, False], ids=["pairs", "products"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_onnx_gives_the_same(self, kind: Kind, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(novelty, "_DIRECT", 10**6 if direct else 0)
        x, y = blobs(200)
        arrays = arrays_of(Space.fit(x, y), kind, x)
        far = np.random.default_rng(3).normal(0, 5, (40, 24)).astype(np.float32)
        new = np.concatenate([blobs(40, seed=2)[0], far, np.zeros((1, 24), np.float32)])
        expected = score(kind, arrays, new, logits_of(new))
        found = in_onnx(kind, arrays, new, logits_of(new))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))


def in_onnx(kind: Kind, arrays: dict[str, Floats], embedding: Floats, logits: Floats) -> Floats:
    """The score as the nodes of a file give it."""
    written = score_nodes(kind, arrays, "embedding", "logits", "reject_score")
    graph = helper.make_graph(
        written.nodes,
        "score",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None])
            for name in ("embedding", "logits")
        ],
        [helper.make_tensor_value_info("reject_score", TensorProto.FLOAT, ["N"])],
        written.weights,
    )
    model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION)
    session = OnnxSession(model.SerializeToString(), RuntimeConfig("cpu"))
    (found,) = session.run({"embedding": embedding, "logits": logits})
    return found


class TestCombined:
    def test_is_as_good_as_the_better_of_two_on_real_images(self) -> None:
        """Pieces of photos as classes, a third of them missing, and rendered images."""
        folder = Path(pytest.importorskip("skimage", reason="photos come with scikit-image").__file__).parent
        names = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png", "ihc.png",
                 "motorcycle_left.png", "retina.jpg", "rocket.jpg", "coins.png", "text.png")  # fmt: skip
        extract = FeatureExtractor("builtin").transform

        def pieces(which: Sequence[str], seed: int) -> Floats:
            rng, images = np.random.default_rng(seed), []
            for name in which:
                photo = Image.open(folder / "data" / name).convert("RGB")
                for _ in range(14):
                    x, y = rng.integers(0, photo.width - 64), rng.integers(0, photo.height - 64)
                    images.append(photo.crop((x, y, x + 64, y + 64)))
            return extract(images)

        classes = [name for i, name in enumerate(names) if i % 3]
        x, known, near = pieces(classes, 0), pieces(classes, 1), pieces(names[::3], 1)
        far = extract([read_item(stranger.item) for stranger in rendered()])
        space = Space.fit(x, np.repeat(np.arange(len(classes)), 14))
        areas = {}
        for kind in ("combined", "relative", "mahalanobis"):
            arrays = arrays_of(space, kind, known)
            below = score(kind, arrays, known, known)
            areas[kind] = np.array([auroc(below, score(kind, arrays, z, z)) for z in (near, far)])
        assert (areas["combined"] > areas["relative"] + 0.005).all()
        assert (areas["combined"] > areas["mahalanobis"] - 0.01).all()

    @pytest.mark.parametrize("kept", [128, 30])
    def test_distance_is_that_in_all_dimensions(self, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(novelty, "COMPONENTS", kept)  # 60 images have 59; what 30 leave counts as alike
        x, y = blobs(60, width=400)
        unit = novelty.unit(x)
        means = np.stack([unit[y == c].mean(axis=0) for c in range(4)])
        covariance, _ = ledoit_wolf(unit - means[y], assume_centered=True)
        covariance += novelty._FLOOR * ((unit - unit.mean(axis=0)) ** 2).mean() * np.eye(400)
        new = np.concatenate(
            [blobs(40, width=400, seed=2)[0], np.random.default_rng(3).normal(0, 5, (9, 400))]
        )
        apart = novelty.unit(new)[:, None] - means
        expected = np.einsum("ncd,de,nce->nc", apart, np.linalg.inv(covariance), apart).min(axis=1)
        distance = np.exp(Space.fit(x, y).parts(new)[2]) - 1
        np.testing.assert_allclose(distance, expected, rtol=1e-4 if kept == 128 else 0.1)

    def test_classes_of_copies_do_not_cost_digits(self) -> None:
        """Their means lie thousands of deviations apart."""
        x, y = blobs(36, 3, width=1280, noise=0.01)
        arrays = arrays_of(Space.fit(x[:27], y[:27]), "combined", x[27:])
        expected = score("combined", arrays, x, logits_of(x))
        np.testing.assert_allclose(in_onnx("combined", arrays, x, logits_of(x)), expected, rtol=0, atol=3e-3)

    def test_parts_that_do_not_vary_count_for_nothing(self) -> None:
        x, y = blobs(60)
        space = Space.fit(x, y)  # 24 components leave nothing
        arrays = arrays_of(space, "combined", x)
        assert arrays["scale"][1][3] == 1
        far = np.random.default_rng(3).normal(0, 5, (40, 24)).astype(np.float32)
        assert auroc(score("combined", arrays, x, x), score("combined", arrays, far, far)) > 0.95


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


@pytest.mark.parametrize(("images", "width"), [(5, 3), (100, 128), (1000, 20), (3, 1), (2, 50)])
def test_shrunk_covariance_is_scikit_learns(images: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, width)) * rng.uniform(0.1, 3, width)
    wanted, _ = ledoit_wolf(x, assume_centered=True)
    given, _ = shrunk_covariance(x)
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_rounding_is_what_a_millionth_makes_of_the_score() -> None:
    val, _ = blobs(60, seed=1)
    assert fitted().rounding(val, logits_of(val)) < 1e-4
    close, y = blobs(200)
    close = np.float32(10) + np.float32(1e-2) * close
    rejector = fit_rejector(close, y, [HeldPart(close, y, close, logits_of(close), y)])
    assert 1e-4 < rejector.rounding(close, logits_of(close)) < 1

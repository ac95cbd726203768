"""How unlike anything known an image is: scores in NumPy and in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image
from sklearn.covariance import ledoit_wolf

from feature_extraction import FeatureExtractor
from feature_extraction.items import read_item
from finetune.trust import novelty
from finetune.trust.measures import auroc
from finetune.trust.novelty import KINDS, Kind, Space, score, score_nodes, shrunk_covariance
from finetune.trust.strangers import rendered
from models.opset import IR_VERSION, opset_imports
from models.runtime import OnnxSession, RuntimeConfig
from tests.finetune.trust.blobs import Floats, arrays_of, blobs, logits_of


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


@pytest.mark.parametrize(("images", "width"), [(5, 3), (100, 128), (1000, 20), (3, 1), (2, 50)])
def test_shrunk_covariance_is_scikit_learns(images: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, width)) * rng.uniform(0.1, 3, width)
    wanted, _ = ledoit_wolf(x, assume_centered=True)
    given, _ = shrunk_covariance(x)
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import checker, numpy_helper
from sklearn.exceptions import ConvergenceWarning

from finetune.classifiers.exporting import export_top
from finetune.classifiers.families import CLASSIFIER_FAMILIES, CLASSIFIERS
from finetune.classifiers.fitting import fit_classifier
from finetune.classifiers.result import Fitted, check
from finetune.classifiers.search import Search
from models.errors import InputError, ModelError, NumericsError
from models.runtime import OnnxSession, RuntimeConfig
from tests.finetune.classifiers.blobs import blobs

# The least accuracy on new points of the same clouds, where the best possible is about 0.98.
ROWS = {"logistic": 0.9, "linear-svm": 0.9, "rbf-svm": 0.9, "knn": 0.85, "forest": 0.8, "nearest-mean": 0.9}


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.classifiers.families._TREES", 40)
    monkeypatch.setattr("finetune.classifiers.search._FEW_TREES", 10)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def run(fitted: Fitted, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    model = export_top(fitted).model
    checker.check_model(model)
    session = OnnxSession(model.SerializeToString(), RuntimeConfig("cpu"))
    return session.run({"features": x}, ["embedding", "logits"])


def test_every_kind_has_a_row() -> None:
    assert tuple(ROWS) == CLASSIFIERS


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_learns_and_says_the_same_in_onnx(kind: str) -> None:
    x, y, classes = blobs((40, 30, 50), seed=0)
    fitted = fit_classifier(kind, x[::2], y[::2], classes)
    wanted = fitted.estimator.predict_proba(x)
    embedding, logits = run(fitted, x)
    assert (wanted.argmax(axis=1) == y)[1::2].mean() >= ROWS[kind]
    assert (embedding == x).all()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(softmax(logits.astype(np.float64)), wanted, atol=1e-5)
    np.testing.assert_allclose(fitted.probabilities(x), wanted, atol=1e-12)
    assert (fitted.predict(x) == wanted.argmax(axis=1)).all()


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_same_seed_gives_the_same_model(kind: str) -> None:
    x, y, classes = blobs()
    first, second = (fit_classifier(kind, x, y, classes, seed=3) for _ in range(2))
    assert export_top(first).model.SerializeToString() == export_top(second).model.SerializeToString()
    assert json.loads(json.dumps(first.chosen)) == dict(second.chosen)


def awkward() -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]]:
    """Features that are not as a network would give them."""
    x, y, classes = blobs()
    constant = x.copy()
    constant[:, ::3] = 7.3
    huge = x * np.float32(1e5) ** np.linspace(-2, 2, x.shape[1], dtype=np.float32)
    far = x + np.float32(1e6)
    none = np.zeros_like(x)
    return {
        "constant features": (constant, y, classes),
        "duplicated rows": (np.repeat(x, 5, axis=0), np.repeat(y, 5), classes),
        "duplicates of two classes": (
            np.concatenate([x, x[:20]]),
            np.concatenate([y, 1 - y[:20] % 2]),
            classes,
        ),
        "two classes": blobs((15, 9)),
        "a class of one and one of two": blobs((20, 1, 2, 9)),
        "nothing but single images": blobs((1, 1, 1, 1)),
        "one feature": blobs(width=1),
        "more features than images": blobs((4, 3), width=200),
        "scales from 1e-10 to 1e10": (huge, y, classes),
        "far from zero": (far, y, classes),
        "nothing to tell classes apart": (none, y, classes),
    }


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("name", awkward())
def test_awkward_features(kind: str, name: str) -> None:
    x, y, classes = awkward()[name]
    fitted = fit_classifier(kind, x, y, classes)
    probabilities = fitted.probabilities(x)
    assert check(export_top(fitted), fitted, x) <= 1e-5
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["logistic", "rbf-svm", "nearest-mean"]
)  # with the others the many outvote it
def test_a_class_of_one_image_is_learned(kind: str) -> None:
    x, y, classes = blobs((20, 1, 20), apart=3.0)
    assert fit_classifier(kind, x, y, classes).predict(x[20:21]) == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(bad: float) -> None:
    x, y, classes = blobs()
    x[5, 3] = bad
    with pytest.raises(NumericsError, match=r"features of 1 of 36 images have NaN or infinity, first row 5"):
        fit_classifier("logistic", x, y, classes)


def test_many_classes_are_refused_where_they_would_not_end() -> None:
    counts = (1,) * 10_000
    x, y, classes = blobs(counts, width=2)
    for kind, recipe in CLASSIFIER_FAMILIES.items():
        if recipe.max_classes is not None:
            with pytest.raises(
                InputError, match=r"at most [\d,]+ classes, and there are 10,000. Use .*nearest-mean"
            ):
                fit_classifier(kind, x, y, classes)
    assert fit_classifier("nearest-mean", x, y, classes).predict(x[:3]).tolist() == [0, 1, 2]


def test_too_many_images_for_kernels() -> None:
    x = np.zeros((10_001, 1), np.float32)
    with pytest.raises(InputError, match=r"rbf-svm is made for at most 10,000 images, and there are 10,001"):
        fit_classifier("rbf-svm", x, np.arange(10_001) % 2, ("a", "b"))


def test_knn_stores_no_more_than_a_file_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.classifiers.fitting._STORED", 1000)
    x, y, classes = blobs()
    with pytest.raises(InputError, match="knn stores all training features"):
        fit_classifier("knn", x, y, classes)


def test_expected_warnings_are_left_out_and_others_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search.run

    def warning(self: Search, *folds: Any) -> Any:
        warnings.filters[:] = []  # as the threads of a forest leave them now and then
        warnings.warn("`sklearn.utils.parallel.delayed` should be used with ...", UserWarning, stacklevel=1)
        warnings.warn("the fit did not converge", ConvergenceWarning, stacklevel=1)
        warnings.warn("memory runs out", UserWarning, stacklevel=1)
        return search(self, *folds)

    monkeypatch.setattr(Search, "run", warning)
    x, y, classes = blobs()
    with pytest.warns(UserWarning, match="memory runs out") as heard:
        fit_classifier("nearest-mean", x, y, classes)
    assert len(heard) == 1


def test_wrong_arguments() -> None:
    x, y, classes = blobs()
    with pytest.raises(InputError, match="no method 'svm'; expected one of logistic"):
        fit_classifier("svm", x, y, classes)
    with pytest.raises(InputError, match="1 class given; expected at least two"):
        fit_classifier("knn", x, np.zeros_like(y), ("only",))
    with pytest.raises(InputError, match=r"1 classes have no training image \(fourth\)"):
        fit_classifier("knn", x, y, (*classes, "fourth"))
    with pytest.raises(InputError, match="labels reach from 0 to 2; expected places in 2 classes"):
        fit_classifier("knn", x, y, classes[:2])
    with pytest.raises(InputError, match=r"features are \[36, 20\] with 35 targets"):
        fit_classifier("knn", x, y[1:], classes)
    with pytest.raises(InputError, match=r"features are \[36, 19\]; expected \(N, 20\)"):
        fit_classifier("nearest-mean", x, y, classes).predict(x[:, 1:])


def test_check_finds_a_top_that_is_slightly_wrong() -> None:
    x, y, classes = blobs(apart=0.5)
    fitted = fit_classifier("logistic", x, y, classes)
    top = export_top(fitted)
    weights = next(value for value in top.model.graph.initializer if value.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.001), "weights"))
    with pytest.raises(
        ModelError, match=r"logistic: the exported top and scikit-learn differ by \d.\d+e-0\d"
    ):
        check(dataclasses.replace(top), fitted, x)

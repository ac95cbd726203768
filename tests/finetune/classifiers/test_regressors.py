from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.classifiers.exporting import export_top
from finetune.classifiers.families import REGRESSORS
from finetune.classifiers.fitting import fit_regressor
from finetune.classifiers.result import check
from models.errors import InputError, NumericsError
from models.runtime import OnnxSession, RuntimeConfig

# The least R2 on new points of a straight line with a tenth of noise, in ten dimensions.
ROWS = {"ridge": 0.95, "rbf-svm": 0.7, "knn": 0.3, "forest": 0.3}


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.classifiers.families._TREES", 40)
    monkeypatch.setattr("finetune.classifiers.search._FEW_TREES", 10)


def line(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 10)).astype(np.float32)
    return x, (x @ np.linspace(-1, 1, 10) + 0.1 * rng.normal(size=count)).astype(np.float32)


def test_every_kind_has_a_row() -> None:
    assert tuple(ROWS) == REGRESSORS


@pytest.mark.parametrize("kind", REGRESSORS)
def test_learns_and_says_the_same_in_onnx(kind: str) -> None:
    x, y = line(240)
    fitted = fit_regressor(kind, x[:120], y[:120])
    wanted = fitted.predict(x[120:])
    session = OnnxSession(export_top(fitted).model.SerializeToString(), RuntimeConfig("cpu"))
    embedding, value = session.run({"features": x[120:]}, ["embedding", "value"])
    assert 1 - ((wanted - y[120:]) ** 2).mean() / y[120:].var() >= ROWS[kind]
    assert (embedding == x[120:]).all()
    assert (value.dtype, value.shape) == (np.float32, (120,))
    np.testing.assert_allclose(value, wanted, atol=1e-5)
    np.testing.assert_allclose(fitted.estimator.predict(x[120:]), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("name", ["far targets", "one target", "two images", "groups", "duplicates"])
def test_awkward_targets(kind: str, name: str) -> None:
    x, y = line(30)
    groups = None
    if name == "far targets":
        y = y + np.float32(1e6)
    elif name == "one target":
        y = np.full_like(y, 3.0)
    elif name == "two images":
        x, y = x[:2], y[:2]
    elif name == "groups":
        groups = np.arange(30) // 4
    else:
        x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4)
    fitted = fit_regressor(kind, x, y, groups=groups)
    check(export_top(fitted), fitted, x)
    assert np.isfinite(fitted.predict(x)).all()


def test_bad_targets_are_refused() -> None:
    x, y = line(20)
    y[3] = np.nan
    with pytest.raises(NumericsError, match="1 targets are NaN or infinite"):
        fit_regressor("ridge", x, y)
    with pytest.raises(InputError, match="no method 'logistic'; expected one of ridge"):
        fit_regressor("logistic", x, y)


def test_a_regression_has_no_probabilities() -> None:
    x, y = line(20)
    with pytest.raises(InputError, match="ridge was fitted to numbers and has no probabilities"):
        fit_regressor("ridge", x, y).probabilities(x)

"""The transformer in scikit-learn's hands, and `extract`."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import check_estimator

from feature_extraction import FeatureExtractor, extract
from models.errors import CutError, ImageError, InputError
from models.features import FeatureOptions
from tests.feature_extraction.running import CPU
from tests.fixtures import COLOURS, plain


class TakesTables(FeatureExtractor):
    """Says that it takes tables of numbers, without which scikit-learn makes next to no checks."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.fixture
def images() -> tuple[list[bytes], list[str]]:
    shades = range(150, 250, 10)
    pairs = [
        (plain(tuple(shade if on else 0 for on in colour), (16, 16)), name)
        for shade in shades
        for name, colour in COLOURS.items()
    ]
    return [data for data, _ in pairs], [name for _, name in pairs]


@pytest.fixture
def extractor(tiny_path: Path) -> FeatureExtractor:
    return FeatureExtractor(tiny_path, device="cpu", threads=1)


def test_gives_one_row_an_image(extractor: FeatureExtractor, images: tuple[list[bytes], list[str]]) -> None:
    vectors = extractor.fit_transform(images[0])
    assert vectors.shape == (30, 3)
    assert np.allclose(vectors[0], [150 / 255, 0, 0])
    assert extractor.get_feature_names_out().tolist() == ["pool_0", "pool_1", "pool_2"]
    assert extractor.transform([]).shape == (0, 3)


def test_maps_become_long_vectors(tiny_path: Path, images: tuple[list[bytes], list[str]]) -> None:
    whole = FeatureExtractor(tiny_path, "scaled", pool="none", device="cpu")
    assert whole.fit(None).transform(images[0][:2]).shape == (2, 768)


def test_parameters_may_be_changed(
    extractor: FeatureExtractor, images: tuple[list[bytes], list[str]]
) -> None:
    before = extractor.fit_transform(images[0][:1])
    after = extractor.set_params(cut="logits").transform(images[0][:1])
    assert np.allclose(after, 10 * before)


@pytest.mark.parametrize(
    "copy", [clone, lambda one: pickle.loads(pickle.dumps(one))], ids=["clone", "pickle"]
)
def test_copies_give_the_same(
    extractor: FeatureExtractor, images: tuple[list[bytes], list[str]], copy: object
) -> None:
    before = extractor.fit_transform(images[0])
    twin = copy(extractor)  # type: ignore[operator]
    assert twin.get_params() == extractor.get_params()
    assert np.array_equal(twin.fit(images[0]).transform(images[0]), before)


def test_works_in_a_pipeline_and_in_searches(
    extractor: FeatureExtractor, images: tuple[list[bytes], list[str]]
) -> None:
    pipeline = make_pipeline(extractor, StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, *images, cv=3).mean() == 1.0
    grid = GridSearchCV(
        pipeline, {"featureextractor__cut": ["pool", "logits"], "logisticregression__C": [1.0]}, cv=2
    )
    assert grid.fit(*images).best_score_ == 1.0
    assert grid.predict([plain("blue")]).tolist() == ["blue"]


def test_bad_image_is_an_error_because_rows_belong_to_labels(extractor: FeatureExtractor) -> None:
    with pytest.raises(ImageError, match="1: the file is empty"):
        extractor.fit_transform([plain("red"), b""])


def test_wrong_parameter_is_said_in_fit() -> None:
    with pytest.raises(CutError, match="Did you mean pool"):
        FeatureExtractor(cut="pol").fit([])


@pytest.mark.filterwarnings("ignore")  # checks that are left out are warned of
def test_scikit_learn_finds_no_fault_but_that_tables_are_no_images(tiny_path: Path) -> None:
    results = check_estimator(TakesTables(tiny_path, device="cpu", threads=1), on_fail=None, on_skip=None)
    status = {result["check_name"]: result["status"] for result in results}
    for result in results:
        # That check wants `fit` to refuse a sparse table; ours looks at nothing, so that it may be given anything.
        if result["status"] == "failed" and result["check_name"] != "check_estimator_sparse_tag":
            assert "expected images, uint8 (N, H, W, 3)" in str(result["exception"]), result["check_name"]
    assert sum(value == "passed" for value in status.values()) > 15


class TestExtract:
    def test_yields_ids_and_vectors_lazily(self, tiny_path: Path) -> None:
        endless = (plain(name) for _ in iter(int, 1) for name in COLOURS)
        batches = extract(endless, tiny_path, config=CPU)
        ids, vectors = next(batches)
        assert ids == [str(i) for i in range(8)]
        assert np.allclose(vectors[:3], np.eye(3))
        assert next(batches)[0][0] == "8"

    def test_failed_image_is_warned_of_or_told(self, tiny_path: Path) -> None:
        with pytest.warns(UserWarning, match="left out: 1: the file is empty"):
            ((ids, _),) = extract([plain("red"), b""], tiny_path, config=CPU)
        assert ids == ["0"]
        failed: list[str] = []
        assert (
            list(extract([b""], tiny_path, config=CPU, on_failure=lambda name, _: failed.append(name))) == []
        )
        assert failed == ["0"]

    def test_cut_and_length_may_be_chosen(self, tiny_path: Path) -> None:
        ((_, vectors),) = extract([plain("red")], tiny_path, "logits", normalize=True, config=CPU)
        assert np.allclose(vectors, [[1, 0, 0]])


def test_its_defaults_are_those_of_the_options(images: tuple[list[bytes], list[str]]) -> None:
    parameters, options = FeatureExtractor().get_params(), FeatureOptions()
    for name in ("pool", "normalize", "dtype"):
        assert parameters[name] == getattr(options, name)
        assert f"`{name}` (" in (FeatureExtractor.__doc__ or "")
    with pytest.raises(InputError, match="pool is 'average'; expected one of avg, max, none, flatten"):
        FeatureExtractor(pool="average").fit(images[0])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="threads is 0; expected a whole number from 1"):
        FeatureExtractor(threads=0).fit(images[0])

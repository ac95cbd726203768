"""FineTuner as scikit-learn uses it."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError

from finetune import FineTuner
from finetune.job.recipe import Recipe
from finetune.training.settings import Settings
from models.errors import ImageError, InputError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.finetune.brief import shorten
from tests.finetune.shades import SHADES, folder_of, shade

TRAINING = {"epochs": 6, "learning_rate": 0.05}


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process."""
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def images() -> list[object]:
    return [np.asarray(shade(colour, i)) for colour in SHADES.values() for i in range(12)]


def tuner(model: Path, **more: object) -> FineTuner:
    return FineTuner(str(model), views=1, training=TRAINING, device="cpu", threads=1, cache=False, **more)  # type: ignore[arg-type]


def test_fit_predict_score_save(tiny_path: Path, images: list[object], tmp_path: Path) -> None:
    y = np.repeat([30, 7, 200], 12)  # numbers stay numbers, in their own order
    fitted = tuner(tiny_path).fit(images, y)
    assert fitted.classes_.tolist() == [7, 30, 200]
    assert fitted.score(images, y) > 0.9
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (36, 3)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(1)], fitted.predict(images))
    assert "<th>Accuracy</th>" in fitted._repr_html_()
    assert len(fitted._repr_mimebundle_()["text/html"]) < 2000
    fitted.save(tmp_path / "mine.onnx")
    loaded = Model.open(tmp_path / "mine.onnx", RuntimeConfig("cpu", 1))
    np.testing.assert_array_equal(
        loaded.probabilities(np.stack([loaded.decode(x) for x in images])), probabilities
    )


def test_equal_numbers_are_one_class(tiny_path: Path, images: list[object]) -> None:
    fitted = tuner(tiny_path).fit(images, [1, 2.0, 3, 1.0, 2, 3.0] * 6)
    assert fitted.classes_.tolist() == [1, 2, 3]


def test_a_folder_brings_its_classes(tiny_path: Path, tmp_path: Path) -> None:
    fitted = tuner(tiny_path, out=tmp_path / "run").fit(folder_of(tmp_path / "photos", 8))
    assert fitted.classes_.tolist() == list(SHADES)
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_list_from_elsewhere(tiny_path: Path, tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 8)
    (tmp_path / "lists").mkdir()
    lines = [f"{photo},{photo.parent.name}" for photo in sorted(photos.rglob("*.jpg"))]
    path = tmp_path / "lists" / "list.csv"
    path.write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    with pytest.raises(InputError, match="outside=True"):
        tuner(tiny_path).fit(path)
    assert tuner(tiny_path, outside=True).fit(path).classes_.tolist() == list(SHADES)


def test_regression(tiny_path: Path) -> None:
    y = np.linspace(0, 250, 40)
    photos = [shade((int(red), 100, 100), i, noise=20) for i, red in enumerate(y)]
    fitted = tuner(tiny_path, task="regression", method="sklearn")
    fitted.training = None
    assert fitted.fit(photos, y).score(photos, y) > 0.9
    assert is_regressor(fitted)
    with pytest.raises(InputError, match="use predict"):
        fitted.predict_proba(photos)


def test_verbose_prints_a_line_for_each_stage_and_epoch(
    tiny_path: Path, images: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"epochs": 2, "learning_rate": 0.05}
    FineTuner(tiny_path, views=1, training=settings, device="cpu", threads=1, verbose=True).fit(
        images, ["a", "b", "c"] * 12
    )
    lines = capsys.readouterr().out.splitlines()
    assert "looking at the images: 36" in lines
    assert sum(line.startswith("head without part 5 of 5: epoch ") for line in lines) == 2
    assert "proof in a fresh process" in lines


def test_its_parameters_are_those_of_the_recipe() -> None:
    own = {"lists", "outside", "training", "device", "threads", "cache", "out", "verbose", "observer"}
    parameters = inspect.signature(FineTuner).parameters
    assert parameters.keys() - own == {field.name for field in fields(Recipe)} - {"test", "training"}
    assert parameters.keys() - own == set(FineTuner._get_param_names()) - own
    for name in parameters.keys() - own:
        assert parameters[name].default == getattr(Recipe(), name)
        assert f"`{name}` (" in (FineTuner.__doc__ or "")


def test_settings_reach_the_recipe(
    tiny_path: Path, images: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: list[Recipe] = []

    def stop(dataset: object, recipe: Recipe, *_: object, **__: object) -> None:
        recipes.append(recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr("finetune.tuner.finetune", stop)
    made = FineTuner(tiny_path, seed=np.int64(3), keep=0.9, training={"epochs": 4})  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        made.fit(images, ["a", "b", "c"] * 12)
    assert recipes == [
        Recipe(model=str(tiny_path), test=0.0, keep=0.9, seed=3, training=Settings(epochs=4, seed=3))
    ]
    assert type(recipes[0].seed) is int


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"views": 0}, "views is 0; expected a whole number from 1 to 64."),
        ({"training": {"epochs": 0}}, "epochs is 0; expected a whole number from 1."),
        ({"training": {"epoch": 9}}, r"no setting is called 'epoch'; .* Did you mean epochs\?"),
    ],
)
def test_settings_that_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FineTuner(**change).fit([], [])


def test_is_an_estimator(tiny_path: Path) -> None:
    made = tuner(tiny_path, seed=3)
    assert is_classifier(made)
    assert clone(made).get_params() == made.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        made.predict([])


def test_what_cannot_be_learned(tiny_path: Path, images: list[object]) -> None:
    with pytest.raises(InputError, match="36 images have 2 labels"):
        tuner(tiny_path).fit(images, [1, 2])
    with pytest.raises(InputError, match="labels are missing"):
        tuner(tiny_path).fit(images)
    with pytest.raises(InputError, match="at least two"):
        tuner(tiny_path).fit(images, ["one"] * 36)


def test_rows_stay_beside_their_labels(tiny_path: Path, images: list[object]) -> None:
    fitted = tuner(tiny_path).fit(images, np.repeat(list("abc"), 12))
    with pytest.raises(ImageError, match="not an image"):
        fitted.predict([images[0], b"no image", images[1]])


def coloured() -> tuple[list[object], list[list[str]]]:
    """Photos with the colours that are strong in them: none, some or all."""
    names = ("red", "green", "blue")
    labels = [[name for bit, name in enumerate(names) if i >> bit & 1] for i in range(48)]
    pictures = [
        np.asarray(shade(tuple(200 if name in held else 50 for name in names), i, noise=30))  # type: ignore[arg-type]
        for i, held in enumerate(labels)
    ]
    return pictures, labels


@pytest.mark.parametrize("method", ["head", "sklearn"])
def test_labels_come_back_as_they_were_given(method: str, tiny_path: Path) -> None:
    pictures, labels = coloured()
    training = TRAINING if method == "head" else None
    fitted = FineTuner(
        str(tiny_path),
        method=method,
        task="multilabel",
        views=1,
        training=training,
        threads=1,
        cache=False,  # type: ignore[arg-type]
    ).fit(pictures, labels)
    assert fitted.classes_.tolist() == ["blue", "green", "red"]
    answers = fitted.predict(pictures)
    assert np.mean([set(a) == set(b) for a, b in zip(answers, labels, strict=True)]) > 0.8
    assert fitted.score(pictures, labels) == pytest.approx(
        np.mean([set(a) == set(b) for a, b in zip(answers, labels, strict=True)])
    )
    assert fitted.predict_proba(pictures).shape == (48, 3)
    assert "<th>All labels right</th>" in fitted._repr_html_()


def test_a_matrix_of_labels_comes_back_as_one(tiny_path: Path) -> None:
    pictures, labels = coloured()
    y = np.array([["red" in held, False, "blue" in held] for held in labels], int)
    fitted = tuner(tiny_path, task="multilabel").fit(pictures, y)
    assert fitted.classes_.tolist() == [0, 2]
    answers = fitted.predict(pictures)
    assert answers.shape == y.shape
    assert (answers[:, 1] == 0).all()  # of a label that no image had
    assert (answers == y).all(axis=1).mean() == fitted.score(pictures, y) > 0.8
    with pytest.raises(InputError, match="the labels are dark, red; learned were 0, 2"):
        fitted.score(pictures, [["red"], ["dark"]] * (len(y) // 2))
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.predict(pictures), answers)
    assert is_classifier(fitted)

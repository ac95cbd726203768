"""Nothing that was learned from is measured on, and all is learned from in the end."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from finetune.dataset.opening import open_dataset
from finetune.heads.running import run_top
from finetune.heads.top import Top
from finetune.job.assessment import assess
from finetune.job.crossing import Fold, best_epoch, crosses, parts_held_out, require_apart
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.report.findings import Findings
from finetune.report.summary import summarise
from finetune.training.settings import Settings
from models.errors import InputError, ModelError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.finetune.shades import SHADES, folder_of, shade

QUICK = Settings(epochs=3, learning_rate=0.05)
BUILT_IN = Path("builtin")
REMEMBERS = {"method": "sklearn", "classifier": "forest"}  # of what it has seen it is always right

pytestmark = pytest.mark.usefixtures("brief")


def run(source: Path, out: Path, model: Path, **options: object) -> tuple[Path, Findings]:
    recipe = Recipe(**{"model": str(model), "views": 1, "training": QUICK, **options})  # type: ignore[arg-type]
    outcome = finetune(open_dataset(source), recipe, out, device="cpu", threads=1)
    assert outcome.findings is not None
    return outcome.model, outcome.findings


@pytest.fixture
def mislabelled(tmp_path: Path) -> Path:
    """Photos in folders that say nothing of them: nobody can be right on what he has not seen."""
    dice, names = np.random.default_rng(0), ("a", "b", "c")
    for i in range(60):
        folder = tmp_path / "mislabelled" / names[int(dice.integers(3))]
        folder.mkdir(parents=True, exist_ok=True)
        colour = tuple(int(value) for value in dice.integers(0, 255, 3))
        shade(colour, i).save(folder / f"{i:03}.png")  # type: ignore[arg-type]
    return tmp_path / "mislabelled"


def accuracy(findings: Findings) -> float:
    assert findings.after is not None
    return float((findings.after.argmax(1) == findings.truth).mean())


def test_labels_that_mean_nothing_are_not_foretold(
    mislabelled: Path, tiny_path: Path, tmp_path: Path
) -> None:
    file, findings = run(mislabelled, tmp_path / "out", tiny_path, **REMEMBERS)
    assert findings.measured_on == "cross-fitting"
    assert len(findings.ids) == 60
    assert accuracy(findings) < 0.33 + 3 * 0.06
    model = Model.open(file, RuntimeConfig("cpu", 1))  # has learned from all of them
    pixels = np.stack([model.decode(mislabelled / name) for name in findings.ids])
    assert (model.probabilities(pixels).argmax(1) == findings.truth).mean() > 0.8


def test_a_planted_leak_is_seen(
    mislabelled: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(targets: object, groups: object, rows: np.ndarray, *others: object) -> object:
        honest = parts_held_out(targets, groups, rows, *others)  # type: ignore[arg-type]
        return [(rows, held) for _, held in honest]

    monkeypatch.setattr("finetune.job.preparation.parts_held_out", leaking)
    with pytest.raises(ModelError, match="belong to images that its model has learned from; expected none"):
        run(mislabelled, tmp_path / "out", tiny_path, **REMEMBERS)
    monkeypatch.setattr("finetune.job.methods.require_apart", lambda *_: None)
    _, findings = run(mislabelled, tmp_path / "unseen", tiny_path, **REMEMBERS)
    assert accuracy(findings) > 0.8  # the figure that the check keeps from people


def test_companions_of_what_was_learned_are_no_test(tiny_path: Path) -> None:
    top, groups = Top(onnx.ModelProto()), np.array([0, 1, 2, 2, 4])
    require_apart([Fold(top, np.array([0, 2, 3]), np.array([1, 4]))], groups)
    with pytest.raises(ModelError, match=r"part 1: 1 of 2 images that were held out"):
        require_apart([Fold(top, np.array([0, 2]), np.array([3, 4]))], groups)


def test_an_own_test_folder_teaches_nothing(tiny_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    folder_of(root / "train", 12)
    folder_of(root / "test", 4)
    file, findings = run(root, tmp_path / "one", tiny_path)
    assert findings.measured_on == "test"
    assert findings.counts["train"].sum() == 36
    assert "from all 36" in findings.procedure
    shutil.rmtree(root / "test")
    folder_of(root / "test", 4, dict.fromkeys(SHADES, (9, 9, 9)))
    other, others = run(root, tmp_path / "other", tiny_path)
    assert accuracy(others) < accuracy(findings)
    one, two = (onnx.load(path).graph.SerializeToString(deterministic=True) for path in (file, other))
    assert one == two


def test_near_duplicates_stand_on_one_side(tiny_path: Path, tmp_path: Path) -> None:
    """Three copies of each photo: torn apart, memory would be right on photos whose classes mean nothing."""
    dice = np.random.default_rng(1)
    for i in range(30):
        folder = tmp_path / "copies" / "ab"[int(dice.integers(2))]
        folder.mkdir(parents=True, exist_ok=True)
        photo = shade(tuple(int(value) for value in dice.integers(0, 255, 3)), i, size=64)  # type: ignore[arg-type]
        for quality in (95, 90, 85):
            photo.save(folder / f"{i:03}-{quality}.jpg", quality=quality)
    _, findings = run(tmp_path / "copies", tmp_path / "out", tiny_path, **REMEMBERS)
    assert any("near duplicates" in text for text in findings.warnings)
    assert accuracy(findings) < 0.5 + 3 * 0.09


@pytest.mark.parametrize("method", ["sklearn", "head"])
def test_two_images_a_class(method: str, tiny_path: Path, tmp_path: Path) -> None:
    file, findings = run(folder_of(tmp_path / "few", 2), tmp_path / "out", tiny_path, method=method)
    assert len(findings.ids) == 6
    assert Model.open(file, RuntimeConfig("cpu", 1)).card.splits is not None


@pytest.mark.parametrize("method", ["sklearn", "head"])
def test_a_class_of_two_clusters(method: str, tiny_path: Path, tmp_path: Path) -> None:
    """What lies between its clusters is another class, and neither cluster is taken for none of these."""
    source = folder_of(tmp_path / "clusters", 12)
    for photo in (source / "sky").iterdir():
        photo.rename(source / "brick" / f"sky-{photo.name}")
    (source / "sky").rmdir()
    file, findings = run(source, tmp_path / "out", tiny_path, method=method)
    assert accuracy(findings) > 0.9
    card = Model.open(file, RuntimeConfig("cpu", 1)).card
    assert findings.rejection is not None
    assert card.reject is not None
    rejected = findings.rejection.known > findings.rejection.threshold
    clusters = np.array(["sky" in name for name in findings.ids])
    assert rejected[clusters].mean() < 0.35
    assert rejected[~clusters].mean() < 0.35


def test_the_threshold_stands_beside_the_scores_that_it_was_set_by(tiny_path: Path, tmp_path: Path) -> None:
    """The report shows those of models that had not learned from the image: the finished one finds it too near."""
    _, findings = run(folder_of(tmp_path / "photos", 12), tmp_path / "out", tiny_path, method="sklearn")
    assert findings.rejection is not None
    scores, threshold = findings.rejection.known, findings.rejection.threshold
    assert 0 < threshold - scores.max() < 0.1 * np.ptp(scores)


def test_a_hidden_layer_sets_its_threshold_among_embeddings_of_its_own(tmp_path: Path) -> None:
    """Those of two trainings mean nothing to each other: everything would be near enough."""
    source, how = folder_of(tmp_path / "photos", 12), Settings(epochs=8, hidden=(16,))
    _, findings = run(source, tmp_path / "out", BUILT_IN, training=how)
    shown, accepted = (
        sum(getattr(one, name) for one in findings.strangers) for name in ("images", "accepted")
    )
    assert shown >= 42
    assert accepted < 0.75 * shown


def test_the_learning_curve_of_a_hidden_layer_is_of_a_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished model's embeddings have learned from the images that the curve is measured on."""
    given: list[Any] = []

    def spying(*args: Any, **options: Any) -> Any:
        given.extend(args)
        return assess(*args, **options)

    def curve(_: object, *parts: Any, **options: object) -> tuple[()]:
        given.extend(parts)
        return ()

    monkeypatch.setattr("finetune.job.run.assess", spying)
    monkeypatch.setattr("finetune.job.assessment.learning_curve", curve)
    root = tmp_path / "own"
    folder_of(root / "train", 6)
    folder_of(root / "test", 2)
    run(root, tmp_path / "out", BUILT_IN, training=Settings(epochs=3, hidden=(16,)))
    prepared, learned, _, *parts = given
    first = learned.folds[0]
    places = first.learned, np.sort(first.held), prepared.rows["test"]
    for (embeddings, y), rows in zip(parts, places, strict=True):
        np.testing.assert_array_equal(embeddings, run_top(first.top, prepared.features[rows]).embedding)
        np.testing.assert_array_equal(y, prepared.targets[rows])


def test_one_image_a_class_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no image is left for validation; .* Add images, at least two a class"
    ):
        run(folder_of(tmp_path / "few", 1), tmp_path / "out", tiny_path)


def test_copies_are_not_images_to_hold_out(tiny_path: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "copies" / name).mkdir(parents=True)
        for i in range(4):
            shade((200, 30, 30) if name == "a" else (30, 30, 200), 0).save(
                tmp_path / "copies" / name / f"{i}.png"
            )
    with pytest.raises(
        InputError, match=r"8 are there, 2 without copies\. Add images, .* that are no copies\."
    ):
        run(tmp_path / "copies", tmp_path / "out", tiny_path)


def test_a_class_of_one_image_is_learned_and_never_measured(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 8)
    folder_of(tmp_path / "photos2", 1, {"night": (5, 5, 20)})
    shutil.move(tmp_path / "photos2" / "night", folder / "night")
    _, findings = run(folder, tmp_path / "out", tiny_path)
    assert findings.classes[2] == "night"
    assert 2 not in findings.truth
    assert findings.counts["train"].tolist() == [8, 8, 1, 8]
    assert "1 image never, where a class has no other" in findings.procedure


@pytest.mark.parametrize(
    ("options", "crossed"),
    [
        ({}, True),
        ({"val": 0.2}, False),
        ({"test": 0.3}, False),
        ({"test": 0.0}, True),
        ({"measure": "split"}, False),
    ],
)
def test_parts_that_are_asked_for_are_held_out_for_good(
    options: dict[str, object], crossed: bool, tmp_path: Path
) -> None:
    dataset = open_dataset(folder_of(tmp_path / "photos", 3))
    assert crosses(dataset, Recipe(**options)) is crossed  # type: ignore[arg-type]


def test_a_thousand_classes_of_five() -> None:
    y, single = np.repeat(np.arange(1000), 5), np.arange(5000)
    folds = parts_held_out(y, single, single, True, 0)
    assert len(folds) == 5
    for learned, held in folds:
        assert (np.bincount(y[learned]) == 4).all()
        assert (np.bincount(y[held]) == 1).all()


def test_classes_of_one_to_five_thousand() -> None:
    y = np.repeat([0, 1, 2, 3], [1, 2, 40, 5000])
    folds = parts_held_out(y, np.arange(len(y)), np.arange(len(y)), True, 0)
    assert len(folds) == 2  # halves of a fifth, which choose for each other
    for learned, held in folds:
        assert set(y[learned]) == {0, 1, 2, 3}
        assert 0 not in y[held]
        assert not set(learned) & set(held)
    assert not set(folds[0][1]) & set(folds[1][1])


def test_an_epoch_is_chosen_without_the_fold_that_it_is_for() -> None:
    falls, rises = np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert best_epoch([falls, rises, rises], [10, 10, 10]) == 0
    assert best_epoch([falls, rises], [10, 10], without=1) == 2
    assert best_epoch([falls, rises], [10, 10], without=0) == 0
    assert best_epoch([falls], [10], without=0) == 2  # there is no other


def test_an_epoch_has_to_be_better_by_more_than_chance() -> None:
    lucky = [np.array([1.0, 0.4]), np.array([1.0, 1.1]), np.array([1.0, 1.2]), np.array([1.0, 0.9])]
    assert best_epoch(lucky, [7, 7, 7, 7]) == 0
    assert best_epoch([np.array([1.0, 0.9 - i / 100]) for i in range(4)], [7, 7, 7, 7]) == 1
    assert best_epoch([np.array([1.0, 0.99])], [7]) == 0
    untaught = [np.array([np.inf, 2.0, 1.9]), np.array([np.inf, 2.0, 2.05])]
    assert best_epoch(untaught, [7, 7]) == 2


def test_over_fitting_is_judged_by_how_many_photos_were_held_out(tiny_path: Path, tmp_path: Path) -> None:
    """There are none for validation: without their number every gap would count."""
    _, findings = run(folder_of(tmp_path / "photos", 6), tmp_path / "out", tiny_path)
    assert findings.history is not None
    assert findings.history.val_images == 18
    assert findings.split_images["val"] == 0
    flat = np.ones(4)
    apart = dataclasses.replace(
        findings.history, train_loss=flat, val_loss=flat, val_refined=flat, train_accuracy=flat * 0.9,
        val_accuracy=flat * 0.8, best=1,
    )  # fmt: skip
    fit = summarise(dataclasses.replace(findings, history=apart)).fit
    assert fit is not None
    assert "no more than 18 validation images can be off by chance" in fit.words

"""From a folder of photos to one file: every method, what is in the file, what is refused, and resuming."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.items import read_item
from finetune.dataset.opening import open_dataset
from finetune.job.folder import RunFolder
from finetune.job.recipe import METHODS, Recipe
from finetune.job.run import Outcome, finetune
from finetune.training.settings import Settings
from finetune.trust.proof import Proof
from finetune.trust.strangers import KINDS, OF_A_KIND, rendered
from models.card import Splits
from models.errors import GraftError, InputError, ModelError, NumericsError, OutputError, SourceError
from models.model import Model
from models.proof import largest_gap, read_proof
from models.reference import read_reference
from models.runtime import RuntimeConfig
from tests.finetune.shades import SHADES, folder_of, list_of_numbers, shade
from tests.fixtures import tiny_classifier

ROOT = Path(__file__).parents[3]
QUICK = Settings(epochs=6, block_epochs=2, learning_rate=0.05, block_learning_rate=0.01)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "shades")


@pytest.fixture(autouse=True)
def _brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process, which have tests of their own, but for the tests marked `whole`."""
    if "whole" in request.fixturenames:
        return
    monkeypatch.setattr(
        "finetune.job.run.prove", lambda path, images, expected, **_: Proof(len(images), 0.0, {}, 1e-4)
    )
    monkeypatch.setattr("finetune.job.run.FreshProcess", contextlib.nullcontext)
    monkeypatch.setattr("finetune.report.page.plots", Blank())


class Blank:
    """Draws nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


@pytest.fixture
def whole() -> None:
    """Run everything, plots and proof included."""


def run(source: Path, out: Path, model: Path, **options: object) -> Outcome:
    """Fine-tune with settings that take a second."""
    settings: dict[str, object] = {"method": "head", "views": 1, "training": QUICK, **options}
    more = {
        name: settings.pop(name) for name in ("resume", "unknown", "previous", "observer") if name in settings
    }
    recipe = Recipe(model=str(model), **settings)  # type: ignore[arg-type]
    return finetune(open_dataset(source, recipe.task), recipe, out, device="cpu", threads=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [method for method in METHODS if method != "blocks"])
def test_learns_and_leaves_one_file(method: str, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path, method=method)
    assert outcome.findings is not None
    assert (outcome.findings.after.argmax(1) == outcome.findings.truth).mean() > 0.9
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    assert [label.id for label in model.card.labels] == list(SHADES)
    assert model.card.splits is not None
    proof = read_proof(model.session.metadata)
    assert proof is not None
    assert largest_gap(model, proof).holds
    reference = read_reference(model.session.metadata)
    assert reference is not None
    assert reference.images == 24  # two parts of five, which the axes do not know
    assert sum(reference.counts) == reference.images
    assert model.run(np.zeros((1, 16, 16, 3), np.uint8), ["projection"])[0].shape == (1, reference.width)
    (best, *_) = model.classify([shade(SHADES["sky"], 999)])[0]
    assert best.label.id == "sky"
    assert model.card.splits == Splits(60, 0, 0)
    assert model.card.accuracy[0].split == "cross-fitting"
    names = {path.name for path in (tmp_path / "out").iterdir()} - {"tensorboard", "mistakes.csv"}
    assert names == {"model.onnx", "report.html", "report.json", "run.json"}


def test_tensorboard_shows_curves_and_photos(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    folder = tmp_path / "out" / "tensorboard"
    assert list(folder.glob("events*"))
    config = (folder / "projector_config.pbtxt").read_text()
    assert "sprite" in config
    (labels,) = (
        folder.rglob("*.tsv") if len(list(folder.rglob("*.tsv"))) == 1 else folder.rglob("*metadata*.tsv")
    )
    assert set(labels.read_text().split()) == {outcome.findings.classes[i] for i in outcome.findings.truth}


@pytest.mark.usefixtures("whole")
def test_file_says_what_was_measured(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path, measure="split")
    found = outcome.findings
    assert found is not None
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    pixels = np.stack([model.decode(photos / name) for name in found.ids])
    np.testing.assert_allclose(model.probabilities(pixels), found.after, atol=1e-5)
    assert model.card.accuracy[0].top1 == pytest.approx((found.after.argmax(1) == found.truth).mean())


def test_blocks_of_the_built_in_model(photos: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", Path("builtin"), method="blocks", training=Settings(
        epochs=2, block_epochs=1, learning_rate=0.01, block_learning_rate=0.001, batch_size=16
    ))  # fmt: skip
    assert outcome.findings is not None
    assert Model.open(outcome.model, RuntimeConfig("cpu", 1)).card.training["chosen"]["cut"] == "mixed_7"


def test_blocks_that_bring_nothing_are_left_alone_and_that_is_said(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 5)
    ruinous = Settings(epochs=2, block_epochs=3, learning_rate=0.01, block_learning_rate=0.3, batch_size=16)
    found = run(photos, tmp_path / "out", Path("builtin"), method="blocks", training=ruinous).findings
    assert found is not None
    assert any("the top blocks brought nothing: 2 epochs of training them" in text for text in found.warnings)
    assert (found.after.argmax(1) == found.truth).mean() > 0.9  # the head alone
    (head, blocks) = found.settings["phases"]
    assert (head["epochs"], blocks["epochs"]) == (0, 0)


def test_regression(tiny_path: Path, tmp_path: Path) -> None:
    numbers = list_of_numbers(tmp_path / "numbers")
    for method in ("sklearn", "head"):
        outcome = run(
            numbers,
            tmp_path / method,
            tiny_path,
            task="regression",
            method=method,
            training=Settings(epochs=60),
        )
        found = outcome.findings
        assert found is not None
        assert np.abs(found.values - found.truth).mean() < 10  # of models that know 48 of the 60 images
        model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
        assert model.card.task == "regression"
        assert model.card.target is not None


def test_numbers_that_are_all_equal_teach_nothing(tiny_path: Path, tmp_path: Path) -> None:
    numbers = list_of_numbers(tmp_path / "numbers", 12)
    head, *rows = numbers.read_text().splitlines()
    numbers.write_text("\n".join([head, *(row.partition(",")[0] + ",5" for row in rows)]))
    with pytest.raises(InputError, match="have the same number, 5"):
        run(numbers, tmp_path / "out", tiny_path, task="regression")


def test_a_rate_that_is_too_high_says_so(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="Lower the learning rate"):
        run(photos, tmp_path / "out", tiny_path, training=Settings(epochs=2, learning_rate=1e38))


def test_same_bytes_twice_and_wherever_the_photos_lie(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "a", tiny_path, views=3).model.read_bytes()
    moved = shutil.copytree(photos, tmp_path / "elsewhere" / photos.name)
    assert run(moved, tmp_path / "b", tiny_path, views=3).model.read_bytes() == first
    assert run(photos, tmp_path / "c", tiny_path, views=3, seed=1).model.read_bytes() != first


def test_own_splits_leaks_and_classes_nobody_teaches(tiny_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    folder_of(root / "train", 12)
    folder_of(root / "test", 4, {**SHADES, "night": (10, 10, 20)})
    shutil.copy(root / "train" / "sky" / "000.jpg", root / "test" / "sky" / "copy.jpg")
    found = run(root, tmp_path / "out", tiny_path).findings
    assert found is not None
    assert found.classes == tuple(SHADES)
    assert any("night" in text for text in found.warnings)
    leaks = [text for text in found.warnings if "for testing or validation with a duplicate" in text]
    assert leaks == [
        f"{len(found.leaks)} image{'s' * (len(found.leaks) > 1)} for testing or validation with a duplicate among "
        "those for training"
    ]
    assert any(text.endswith("the splits of the folders or the list stay") for text in found.warnings)
    leaked = {found.ids[i] for i in found.leaks}
    assert "test/sky/copy.jpg" in leaked


def test_what_cannot_be_read_is_reported(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    (folder / "sky" / "broken.jpg").write_bytes(b"\xff\xd8no photo")
    (folder / "sky" / "empty.jpg").write_bytes(b"")
    found = run(folder, tmp_path / "out", tiny_path).findings
    assert found is not None
    assert {Path(name).name for name, _ in found.failed} == {"broken.jpg", "empty.jpg"}
    left_out = [text for text in found.warnings if "left out, because it cannot be read: 1 image" in text]
    assert ["empty (0 bytes)" in text for text in left_out] == [False, True]
    assert any("fewer than 20 images to train on in 3 classes: " in t for t in found.warnings)


def test_a_previous_model_and_unknown_images(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "first", tiny_path)
    strangers = folder_of(tmp_path / "strangers", 5, {"ink": (5, 5, 5)})
    found = run(
        photos, tmp_path / "second", tiny_path, previous=str(first.model), unknown=str(strangers)
    ).findings
    assert found is not None
    assert found.previous is not None
    assert first.findings is not None
    np.testing.assert_array_equal(found.previous.predicted, first.findings.after.argmax(1))
    assert found.rejection is not None
    assert found.rejection.unknown is not None
    assert len(found.rejection.unknown) == 5


def test_strangers_are_counted_as_the_finished_file_answers_them(
    photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    outcome = run(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    shown = {one.kind: one for one in outcome.findings.strangers}
    assert set(KINDS) <= set(shown)
    for kind in KINDS:
        images = [stranger for stranger in rendered() if stranger.kind == kind]
        answers = model.answers(np.stack([model.decode(read_item(one.item)) for one in images]))
        assert answers.rejected is not None
        assert (shown[kind].images, shown[kind].accepted) == (len(images), int((~answers.rejected).sum()))
        surest = answers.probabilities[~answers.rejected].max(axis=1, initial=0)
        for (_, name, probability), expected in zip(shown[kind].examples, -np.sort(-surest), strict=False):
            assert name in SHADES
            assert probability == pytest.approx(expected, abs=1e-4)
    rejection = json.loads(outcome.report.with_suffix(".json").read_text())["classification"]["rejection"]
    assert [row["kind"] for row in rejection["strangers"]] == list(shown)


def test_a_stranger_that_was_taught_is_none(tiny_path: Path, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos")
    (stranger, *_) = rendered()
    (source / "sky" / "taught.bmp").write_bytes(read_item(stranger.item))
    outcome = run(source, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    (shown,) = [one for one in outcome.findings.strangers if one.kind == stranger.kind]
    assert shown.images == OF_A_KIND - 1


def test_the_file_is_proven_on_the_device_it_was_trained_on(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int8 network gives other numbers on another engine, and no proof holds across them."""
    asked: list[object] = []

    def proven(path: Path, images: list[object], expected: object, **options: object) -> Proof:
        asked.append(options["device"])
        return Proof(len(images), 0.0, {}, 1e-4)

    monkeypatch.setattr("finetune.job.run.prove", proven)
    run(photos, tmp_path / "out", tiny_path)
    assert asked == ["cpu"]


def test_one_class_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 5, {"sky": SHADES["sky"]})
    with pytest.raises(GraftError, match=r"(?i)class"):
        run(folder, tmp_path / "out", tiny_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "expected one of sklearn, head, blocks"),
        ({"unfreeze": "pool"}, "for --method blocks"),
        ({"classifier": "logistic"}, "for --method sklearn"),
        ({"method": "sklearn", "classifier": "oracle"}, "expected one of logistic"),
        ({"views": 0}, "views is 0; expected a whole number from 1 to 64"),
        ({"val": 0.0}, "val is 0; expected a number above 0"),
        ({"val": 0.6, "test": 0.5}, "something left to train on"),
        ({"keep": 1.0}, "keep is 1"),
    ],
)
def test_recipes_that_do_not_go_together(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**options)  # type: ignore[arg-type]


def test_a_folder_of_something_else_is_left_alone(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds other files"):
        run(photos, tmp_path, tiny_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_runs_do_not_write_into_one_folder(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "out"), pytest.raises(OutputError, match="is writing here"):
        run(photos, tmp_path / "out", tiny_path)


def test_a_finished_run_is_kept(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    before = run(photos, tmp_path / "out", tiny_path).model.read_bytes()
    with pytest.raises(OutputError, match=r"holds a finished run\. Choose another folder"):
        run(photos, tmp_path / "out", tiny_path)
    again = run(photos, tmp_path / "out", tiny_path, resume=True)
    assert again.findings is None
    assert again.model.read_bytes() == before


def test_a_finished_run_with_other_settings_or_images_is_not_called_done(
    tiny_path: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    before = run(folder, tmp_path / "out", tiny_path).model.read_bytes()
    with pytest.raises(OutputError, match=r"was finished with something else \(recipe.seed was 0, is 5\)"):
        run(folder, tmp_path / "out", tiny_path, resume=True, seed=5)
    shade((1, 2, 3), 0).save(folder / "sky" / "new.jpg")
    with pytest.raises(OutputError, match=r"was finished with something else \(the images or their labels"):
        run(folder, tmp_path / "out", tiny_path, resume=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before
    assert not (tmp_path / "out" / "work").exists()


def test_what_else_is_given_is_looked_at_before_anything_starts(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it started")

    monkeypatch.setattr("finetune.job.run.scan", never)
    out = tmp_path / "out"
    with pytest.raises(SourceError, match="no such file or folder"):
        run(photos, out, tiny_path, unknown=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is for classes"):
        run(list_of_numbers(tmp_path / "numbers"), out, tiny_path, task="regression", unknown=str(photos))
    with pytest.raises(ModelError, match="knows not one of the classes brick, grass, sky"):
        run(photos, out, tiny_path, previous=str(tiny_path))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        run(photos, tmp_path / "file" / "out", tiny_path)
    assert not out.exists()


def test_other_settings_or_images_are_not_mixed(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        run(folder, out, tiny_path, observer=Stopping("train"))
    with pytest.raises(OutputError, match="has not finished"):
        run(folder, out, tiny_path)
    with pytest.raises(OutputError, match=r"recipe.seed was 0, is 5"):
        run(folder, out, tiny_path, resume=True, seed=5)
    shade((1, 2, 3), 0).save(folder / "sky" / "new.jpg")
    with pytest.raises(OutputError, match="the images or their labels have changed"):
        run(folder, out, tiny_path, resume=True)


class Stopping(Blank):
    """An observer that ends the run at the beginning of a stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def begin(self, stage: str, total: int | None = None) -> None:
        if stage == self.stage:
            raise ZeroDivisionError


def test_a_model_that_cannot_be_trained_says_which_operator(photos: Path, tmp_path: Path) -> None:
    path = tiny_classifier(tmp_path / "tiny.onnx")
    with pytest.raises(GraftError, match=r"--method head|--unfreeze"):
        run(photos, tmp_path / "out", path, method="blocks")


def test_features_only_model_is_a_backbone_too(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such"):
        run(photos, tmp_path / "out", tmp_path / "missing.onnx")


KILLED = """
import os, signal, sys, time
from pathlib import Path
from finetune.dataset.opening import open_dataset
from finetune.job.observing import Observer
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.training.settings import Settings

class Killer(Observer):
    def begin(self, stage, total=None):
        if stage == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
    def train(self, progress):
        if sys.argv[3] == f"epoch {progress.epoch}":
            os.kill(os.getpid(), signal.SIGKILL)

recipe = Recipe(model=sys.argv[4], views=2, training=Settings(epochs=6, learning_rate=0.05))
finetune(open_dataset(sys.argv[1]), recipe, Path(sys.argv[2]), device="cpu", threads=1, resume=True, observer=Killer())
"""


@pytest.mark.smoke
def test_killed_at_every_stage_and_resumed_gives_the_same_bytes(
    photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"

    def process(folder: Path, moment: str) -> int:
        command = [sys.executable, "-c", KILLED, str(photos), str(folder), moment, str(tiny_path)]
        return subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode

    for moment in ("views", "epoch 3", "report"):
        assert process(out, moment) == -9, moment
    assert process(out, "") == 0
    assert process(whole, "") == 0
    assert (out / "model.onnx").read_bytes() == (whole / "model.onnx").read_bytes()
    assert (
        json.loads((out / "report.json").read_text())["classification"]
        == (json.loads((whole / "report.json").read_text())["classification"])
    )

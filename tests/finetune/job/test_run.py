"""From a folder of photos to one file: every method, what is in the file, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from finetune.job.observing import LineObserver
from finetune.job.recipe import METHODS
from finetune.training.settings import Settings
from finetune.trust.proof import Proof
from models.card import Splits
from models.errors import GraftError, InputError, ModelError, NumericsError, OutputError, SourceError
from models.model import Model
from models.proof import largest_gap, read_proof
from models.reference import read_reference
from models.runtime import RuntimeConfig
from tests.finetune.job.running import run
from tests.finetune.shades import SHADES, folder_of, list_of_numbers, shade
from tests.fixtures import tiny_classifier

pytestmark = pytest.mark.usefixtures("brief")


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


def test_blocks_of_the_built_in_model(photos: Path, tmp_path: Path) -> None:
    outcome = run(photos, tmp_path / "out", Path("builtin"), method="blocks", training=Settings(
        epochs=2, block_epochs=1, learning_rate=0.01, block_learning_rate=0.001, batch_size=16
    ))  # fmt: skip
    assert outcome.findings is not None
    assert Model.open(outcome.model, RuntimeConfig("cpu", 1)).card.training["chosen"]["cut"] == "mixed_7"


def test_blocks_that_bring_nothing_are_left_alone_and_that_is_said(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "photos", 5)
    ruinous = Settings(epochs=2, block_epochs=3, learning_rate=0.01, block_learning_rate=3, batch_size=16)
    found = run(photos, tmp_path / "out", Path("builtin"), method="blocks", training=ruinous).findings
    assert found is not None
    assert any("the top blocks brought nothing: 2 epochs of training them" in text for text in found.warnings)
    assert (found.after.argmax(1) == found.truth).mean() > 0.9  # the head alone
    (head, blocks) = found.settings["phases"]
    assert (head["epochs"], blocks["epochs"]) == (0, 0)


def test_a_cache_that_cannot_be_used_is_said_and_costs_nothing(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = run(photos, tmp_path / "cached", tiny_path).model.read_bytes()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file"))
    lines: list[str] = []
    outcome = run(photos, tmp_path / "out", tiny_path, observer=LineObserver(lines.append))
    (text,) = (line for line in lines if "the cache is not used" in line)
    assert text.startswith(f"{tmp_path / 'file' / 'features.sqlite'}: ")
    assert outcome.model.read_bytes() == cached


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


def test_a_rate_that_is_too_high_says_so(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="Lower the learning rate"):
        run(photos, tmp_path / "out", tiny_path, training=Settings(epochs=2, learning_rate=1e38))


def test_same_bytes_twice_and_wherever_the_photos_lie(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "a", tiny_path, views=3).model.read_bytes()
    moved = shutil.copytree(photos, tmp_path / "elsewhere" / photos.name)
    assert run(moved, tmp_path / "b", tiny_path, views=3).model.read_bytes() == first
    assert run(photos, tmp_path / "c", tiny_path, views=3, seed=1).model.read_bytes() != first


def test_the_file_is_proven_on_the_device_it_was_trained_on(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int8 network gives other numbers on another engine, and no proof holds across them."""
    asked: list[object] = []

    def proven(path: Path, images: list[object], expected: object, **options: object) -> Proof:
        asked.append(options["device"])
        return Proof(len(images), 0.0, {}, 1e-4)

    monkeypatch.setattr("finetune.job.finishing.prove", proven)
    run(photos, tmp_path / "out", tiny_path)
    assert asked == ["cpu"]


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


def test_a_model_that_cannot_be_trained_says_which_operator(photos: Path, tmp_path: Path) -> None:
    path = tiny_classifier(tmp_path / "tiny.onnx")
    with pytest.raises(GraftError, match=r"--method head|--unfreeze"):
        run(photos, tmp_path / "out", path, method="blocks")


def test_a_model_that_is_not_there_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such"):
        run(photos, tmp_path / "out", tmp_path / "missing.onnx")

"""Labels of which several may hold, from a list to one proven file, and what is left out or refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.items import file_item
from finetune.dataset.opening import open_dataset
from finetune.job.recipe import Recipe
from finetune.job.run import Outcome, finetune
from finetune.report.answers import read_earlier
from finetune.training.settings import Settings
from finetune.trust.label_evaluation import evaluate_multilabel
from finetune.trust.multilabel import sigmoid
from models.errors import InputError, ModelError
from models.model import Model
from models.proof import largest_gap, read_proof
from models.reference import read_reference
from models.runtime import RuntimeConfig
from tests.finetune.shades import folder_of, list_of_labels, shade
from tests.fixtures import plain

QUICK = Settings(epochs=8, block_epochs=2, learning_rate=0.05, block_learning_rate=0.01)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return list_of_labels(tmp_path_factory.mktemp("labels") / "set")


def run(source: Path, out: Path, model: Path, **options: object) -> Outcome:
    """Fine-tune with settings that take a second."""
    settings: dict[str, object] = {"method": "head", "views": 1, "training": QUICK, **options}
    more = {name: settings.pop(name) for name in ("resume", "unknown", "previous") if name in settings}
    recipe = Recipe(model=str(model), task="multilabel", **settings)  # type: ignore[arg-type]
    return finetune(open_dataset(source, "multilabel"), recipe, out, device="cpu", threads=1, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def outcome(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    from tests.fixtures import tiny_classifier

    folder = tmp_path_factory.mktemp("run")
    return run(photos, folder / "out", tiny_classifier(folder / "tiny.onnx"))


def rows_of(folder: Path) -> list[list[str]]:
    """Path and labels of each image of a list."""
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        return list(csv.reader(stream))[1:]


def listed(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """A list beside the images that it names."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "labels"), *rows])
    return path


def test_the_file_says_of_each_label_whether_it_holds(outcome: Outcome, photos: Path) -> None:
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    card = model.card
    assert (card.task, [label.id for label in card.labels]) == ("multilabel", ["blue", "green", "red"])
    assert len(card.thresholds) == 3
    pixels = np.stack([model.decode(plain(colour)) for colour in ((220, 220, 30), (20, 20, 20))])
    likely = model.probabilities(pixels)
    assert [model.holding(row) for row in likely][1] == []
    assert {card.labels[i].id for i in model.holding(likely[0])} == {"green", "red"}
    logits = model.run(pixels, ["logits"])[0]
    assert likely == pytest.approx(sigmoid(logits, card.temperature or 1), abs=1e-6)


def test_the_file_is_proven_and_carries_what_services_compare(outcome: Outcome) -> None:
    assert outcome.findings is not None
    assert outcome.findings.proof is not None
    assert outcome.findings.proof.largest < 1e-5
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    proof = read_proof(model.session.metadata)
    assert proof is not None
    assert largest_gap(model, proof).holds
    reference = read_reference(model.session.metadata)
    assert reference is not None
    assert sum(reference.counts) == reference.images


def test_the_report_has_numbers_of_each_label(outcome: Outcome) -> None:
    report = json.loads(outcome.report.with_suffix(".json").read_text(encoding="utf-8"))
    measured = report["multilabel"]
    assert report["classification"] is None
    assert measured["all_right"]["value"] > 0.6
    assert {one["name"] for one in measured["labels"]} == {"red", "green", "blue"}
    assert all(one["average_precision"] > 0.8 for one in measured["labels"])
    images = report["data"]["split_images"]
    assert sum(images.values()) == 64
    assert measured["all_right"]["images"] == images["test"]
    page = outcome.report.read_text(encoding="utf-8")
    for text in ("All labels right", "Mean average precision", "The model gives all labels right on"):
        assert text in page


def test_evaluation_gives_what_the_report_says(outcome: Outcome, photos: Path) -> None:
    report = json.loads(outcome.report.with_suffix(".json").read_text(encoding="utf-8"))["multilabel"]
    wanted = {one["id"] for one in report["images"]}
    dataset = open_dataset(photos, "multilabel")
    items = [(one.item, one.holding) for one in dataset.examples if one.key in wanted]
    result = evaluate_multilabel(Model.open(outcome.model, RuntimeConfig("cpu", 1)), items)
    assert result.measure.all_right.count == report["all_right"]["count"]
    assert result.measure.mean_average_precision == pytest.approx(report["mean_average_precision"])


def test_evaluation_names_labels_that_the_model_does_not_know(outcome: Outcome, photos: Path) -> None:
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    item = file_item(str(photos.parent / "007.png"), "007.png")
    result = evaluate_multilabel(model, [(item, ("red", "gold")), (item, ("gold",))])
    assert result.unknown == (("gold", 2),)
    with pytest.raises(InputError, match="gold: none of these labels is one of labels, which"):
        evaluate_multilabel(model, [(item, ("gold",))])


@pytest.mark.parametrize("method", ["sklearn", "blocks"])
def test_every_method_learns_labels(method: str, photos: Path, tmp_path: Path) -> None:
    from tests.fixtures import tiny_classifier

    model = tiny_classifier(tmp_path / "tiny.onnx") if method == "sklearn" else Path("builtin")
    outcome = run(photos, tmp_path / "out", model, method=method)
    report = json.loads(outcome.report.with_suffix(".json").read_text(encoding="utf-8"))
    assert report["multilabel"]["mean_average_precision"] > 0.8
    assert report["proof"]["largest"] < 1e-4


def test_a_resumed_run_ends_with_the_same_bytes(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "one", tiny_path)
    second = run(photos, tmp_path / "two", tiny_path)
    assert first.model.read_bytes() == second.model.read_bytes()


def test_labels_that_nothing_tells_apart_are_left_out_and_said(tiny_path: Path, tmp_path: Path) -> None:
    folder = list_of_labels(tmp_path / "set").parent
    rows = rows_of(folder)
    marked = [(path, f"{labels};photo;{'once' if path == '007.png' else ''}") for path, labels in rows]
    outcome = run(listed(folder / "more.csv", marked), tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    warnings = " ".join(outcome.findings.warnings)
    assert (
        "label left out, because every image to train on has it, so that nothing tells it apart: photo"
        in warnings
    )
    assert "once: one image only" in warnings
    assert "photo" not in outcome.findings.classes


def test_all_images_with_all_labels_are_refused(tiny_path: Path, tmp_path: Path) -> None:
    folder = list_of_labels(tmp_path / "set", 12).parent
    every = listed(folder / "every.csv", [(f"{i:03}.png", "red;green") for i in range(12)])
    with pytest.raises(InputError, match="not one of its 2 labels holds on some images"):
        run(every, tmp_path / "out", tiny_path)


def test_one_label_is_learned_as_yes_or_no(tiny_path: Path, tmp_path: Path) -> None:
    folder = list_of_labels(tmp_path / "set").parent
    rows = rows_of(folder)
    reds = listed(folder / "red.csv", [(path, "red" if "red" in labels else "") for path, labels in rows])
    outcome = run(reds, tmp_path / "out", tiny_path)
    model = Model.open(outcome.model, RuntimeConfig("cpu", 1))
    likely = model.probabilities(np.stack([model.decode(plain(c)) for c in ((220, 50, 50), (50, 50, 220))]))
    assert likely.shape == (2, 1)
    assert likely[0, 0] > 0.5 > likely[1, 0]


def test_copies_with_other_labels_are_mentioned(tiny_path: Path, tmp_path: Path) -> None:
    folder = list_of_labels(tmp_path / "set").parent
    rows = rows_of(folder)
    shade((200, 50, 50), 1, noise=30).save(folder / "copy.png")
    marked = listed(folder / "more.csv", [*((a, b) for a, b in rows), ("copy.png", "blue")])
    outcome = run(marked, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    assert "1 image with different labels" in " ".join(outcome.findings.warnings)


def test_an_older_model_is_compared_by_whole_images(
    outcome: Outcome, photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    again = run(photos, tmp_path / "again", tiny_path, previous=str(outcome.model))
    report = json.loads(again.report.with_suffix(".json").read_text(encoding="utf-8"))["multilabel"]
    assert report["comparison"]["changed"] == 0
    with pytest.raises(
        ModelError, match="gives one class; expected an older model that says which labels hold"
    ):
        run(photos, tmp_path / "other", tiny_path, previous=str(tiny_path))


def test_mistakes_are_written_and_taken_back(
    photos: Path, outcome: Outcome, tiny_path: Path, tmp_path: Path
) -> None:
    report = outcome.report.with_suffix(".json")
    wrong = {
        one["id"]: one
        for one in json.loads(report.read_text(encoding="utf-8"))["multilabel"]["images"]
        if one["sureness"]
    }
    with (outcome.report.parent / "mistakes.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["id"] for row in rows} == set(wrong)
    assert all(row["predicted"] == ";".join(wrong[row["id"]]["answered"]) for row in rows)
    earlier = read_earlier(report)
    dataset = open_dataset(photos, "multilabel")
    recipe = Recipe(model=str(tiny_path), task="multilabel", views=1, training=QUICK)
    again = finetune(dataset, recipe, tmp_path / "out", device="cpu", threads=1, earlier=report)
    compared = json.loads(again.report.with_suffix(".json").read_text(encoding="utf-8"))["multilabel"][
        "comparison"
    ]
    assert compared["changed"] == 0
    assert compared["previous"]["count"] == len(earlier.answers) - len(wrong)


def test_unknown_images_are_for_classes(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is for classes: of several labels none need hold"):
        run(photos, tmp_path / "out", tiny_path, unknown=str(folder_of(tmp_path / "shades", 2)))


def test_networks_are_compared_by_whole_images(photos: Path, tmp_path: Path) -> None:
    from tests.fixtures import tiny_classifier

    names = [
        str(tiny_classifier(tmp_path / f"{name}.onnx", size=size)) for name, size in (("a", 16), ("b", 24))
    ]
    recipe = Recipe(task="multilabel", candidates=tuple(names), views=1, training=QUICK)
    outcome = finetune(open_dataset(photos, "multilabel"), recipe, tmp_path / "out", device="cpu", threads=1)
    assert outcome.findings is not None
    assert outcome.findings.candidates is not None
    assert all(row.score > 0.8 for row in outcome.findings.candidates.rows)


def test_parts_are_not_held_out_in_turn() -> None:
    assert Recipe(task="multilabel", measure="split").measure == "split"
    with pytest.raises(InputError, match="'cross-fitting', which is for classes and numbers"):
        Recipe(task="multilabel", measure="cross-fitting")

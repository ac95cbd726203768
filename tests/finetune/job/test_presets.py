"""Presets: settings in one word, and the best of several ways to learn, which is said."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from finetune.dataset.opening import open_dataset
from finetune.heads.averaging import average
from finetune.heads.running import run_top
from finetune.job import presets
from finetune.job.presets import with_networks
from finetune.job.recipe import Recipe, chosen
from finetune.job.run import Outcome, finetune
from finetune.trust.measures import softmax
from finetune.tuner import FineTuner
from models.errors import GraphError, InputError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.finetune.shades import SHADES, list_of_numbers, shade

QUICK = {"epochs": 3, "learning_rate": 0.05, "views": 2}


def best(photos: Path, out: Path, model: Path, **settings: object) -> Outcome:
    recipe = chosen({"preset": "best", "model": str(model), **QUICK, **settings})
    return finetune(open_dataset(photos, recipe.task), recipe, out, device="cpu", threads=1)


def test_the_best_says_what_each_way_brought(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = best(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    tried = outcome.findings.settings["tried"]
    assert list(tried) == [
        "a logistic regression",
        "a head",
        "a head on 2 views",
        "a logistic regression on 2 views",
        "the mean of them",
    ]
    assert all(0 <= share <= 1 for share in tried.values())
    assert outcome.findings.settings["taken"] in tried
    words = next(text for text in outcome.findings.warnings if text.startswith("Tried"))
    assert all(name in words for name in tried)
    assert any("a little too good" in text for text in outcome.findings.warnings)
    (answer, *_) = Model.open(outcome.model, RuntimeConfig("cpu", 1)).classify([shade(SHADES["sky"], 999)])[0]
    assert answer.label.id == "sky"


def test_figures_of_test_photos_are_not_called_too_good(
    photos: Path, tiny_path: Path, tmp_path: Path
) -> None:
    outcome = best(photos, tmp_path / "out", tiny_path, measure="split")
    assert outcome.findings is not None
    assert outcome.findings.measured_on == "test"
    assert any(text.startswith("Tried") for text in outcome.findings.warnings)
    assert not any("too good" in text for text in outcome.findings.warnings)


def test_the_mean_is_a_mean_and_can_be_shipped(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = itertools.count(0, -1)  # the last one, the mean, is the best
    monkeypatch.setattr(presets, "_quality", lambda outputs, prepared, rows: (float(next(losses)), 0.5))
    tops = []
    monkeypatch.setattr(presets, "average", lambda given: tops.append(given) or average(given))
    outcome = best(photos, tmp_path / "out", tiny_path)
    assert outcome.findings is not None
    assert outcome.findings.settings["taken"] == "the mean of them"
    assert outcome.findings.proof is not None
    given = tops[-1]
    x = np.random.default_rng(0).random(
        (5, given[0].model.graph.input[0].type.tensor_type.shape.dim[1].dim_value), np.float32
    )
    mean = run_top(average(given), x)
    logs = np.mean([np.log(softmax(run_top(top, x).logits)) for top in given], axis=0)
    np.testing.assert_allclose(softmax(mean.logits), softmax(logs), atol=1e-5)
    np.testing.assert_array_equal(mean.embedding, run_top(given[0], x).embedding)


def test_nothing_more_is_begun_after_the_time_limit(photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    outcome = best(photos, tmp_path / "out", tiny_path, time_limit="0.001s")
    assert outcome.findings is not None
    assert list(outcome.findings.settings["tried"]) == ["a logistic regression"]
    (left,) = [text for text in outcome.findings.warnings if "time limit" in text]
    assert "of 0.001s was over: a head, a head on 2 views" in left


def test_a_number_has_a_best_too(tiny_path: Path, tmp_path: Path) -> None:
    table = list_of_numbers(tmp_path / "numbers")
    outcome = best(table, tmp_path / "out", tiny_path, task="regression")
    assert outcome.findings is not None
    assert "the mean of them" in outcome.findings.settings["tried"]


def test_networks_that_are_here_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = tmp_path / "there.onnx"
    there.touch()
    builtin, mobile, other, *_ = presets.ZOO
    rows = [builtin, *(_at(row, path) for row, path in ((mobile, there), (other, tmp_path / "none")))]
    monkeypatch.setattr(presets, "ZOO", rows)
    assert with_networks(Recipe(preset="best")).candidates == (builtin.name, mobile.name)
    for recipe in (Recipe(), Recipe(preset="best", model="mine.onnx"), Recipe(preset="best", cut="pool")):
        assert with_networks(recipe) == recipe


def _at(row: object, path: Path) -> object:
    return dataclasses.make_dataclass("Row", ["name", "url", "file"])(row.name, "https://", path)  # type: ignore[attr-defined]


def test_fast_is_settings_that_others_overrule() -> None:
    assert (chosen({"preset": "fast"}).method, chosen({"preset": "fast"}).quantize) == ("sklearn", True)
    assert chosen({"preset": "fast", "method": "head"}).method == "head"
    assert chosen({"preset": "good"}) == Recipe()
    assert chosen({"preset": "best"}).view_count == 2  # to be tried beside one
    assert chosen({"preset": "best", "views": 1}).view_count == 1


def test_a_plan_of_a_run_without_preset_is_as_it_was() -> None:
    assert not {"preset", "time_limit"} & set(Recipe().to_json())
    assert Recipe(preset="best", time_limit="10m").to_json()["time_limit"] == "10m"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_times(text: str, seconds: float) -> None:
    assert Recipe(preset="best", time_limit=text).seconds == seconds


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"preset": "best", "time_limit": "ten minutes"},
            "expected seconds, minutes or hours: 90s, 10m, 1.5h",
        ),
        ({"preset": "best", "time_limit": "10"}, "time_limit is '10'"),
        ({"time_limit": "10m"}, "is for --preset best; the preset is good"),
        ({"preset": "best", "method": "blocks"}, "tries methods itself"),
        ({"preset": "best", "task": "multilabel"}, "the task multilabel"),
        ({"preset": "fast", "epochs": 3}, "for --method head or blocks"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen(values)


def test_tops_of_different_tasks_have_no_mean() -> None:
    with pytest.raises(GraphError, match="0 tops"):
        average([])


def test_the_estimator_takes_presets(photos: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.tuner.PRESETS", {"fast": {"method": "sklearn"}})
    tuner = FineTuner(preset="fast", model=tiny_path, device="cpu", threads=1, cache=False)
    tuner.fit(photos)
    assert tuner.findings_ is not None
    assert tuner.findings_.method == "sklearn"

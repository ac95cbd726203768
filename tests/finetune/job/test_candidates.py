"""Several networks tried on the same photos: which one is taken, on which images, what is told, and going on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from finetune.backbone import trunk
from finetune.backbone.trunk import Trunk
from finetune.dataset.examples import Example
from finetune.dataset.opening import open_dataset
from finetune.job import candidates, choosing
from finetune.job.observing import Observer
from finetune.job.recipe import Recipe
from finetune.job.run import Outcome, finetune
from finetune.training.settings import Settings
from finetune.tuner import FineTuner
from models.errors import InputError, UnknownModelError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.feature_extraction.running import item
from tests.finetune.brief import shorten
from tests.finetune.shades import folder_of, list_of_numbers
from tests.fixtures import tiny_classifier

QUICK = Settings(epochs=4, learning_rate=0.05)
MILLISECONDS = candidates.milliseconds  # as it is without the fixture below


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One that sees all colours, and one that is blind but for blue."""
    folder = tmp_path_factory.mktemp("networks")
    blind = onnx.load(tiny_classifier(folder / "blind.onnx"))
    (white,) = [value for value in blind.graph.initializer if value.name == "white"]
    white.CopyFrom(onnx.helper.make_tensor("white", onnx.TensorProto.FLOAT, [3], [np.inf, np.inf, 255]))
    onnx.save(blind, folder / "blind.onnx")
    return str(tiny_classifier(folder / "seeing.onnx", size=24)), str(folder / "blind.onnx")


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots, the other process and the clock."""
    shorten(monkeypatch)
    monkeypatch.setattr(
        candidates, "milliseconds", lambda models: [2.0 if "24" in repr(model) else 1.0 for model in models]
    )


def run(source: Path, out: Path, names: tuple[str, ...], *, resume: bool = False, **options: Any) -> Outcome:
    watched = options.pop("observer", None)
    recipe = Recipe(candidates=names, views=1, training=QUICK, **options)
    return finetune(
        open_dataset(source, recipe.task),
        recipe,
        out,
        device="cpu",
        threads=1,
        resume=resume,
        observer=watched,
    )


class Heard(Observer):
    """Keeps what is said; `stop` ends the run in that stage."""

    def __init__(self, stop: str = "") -> None:
        self.texts: list[str] = []
        self._stop = stop

    def say(self, text: str) -> None:
        self.texts.append(text)

    def begin(self, stage: str, total: int | None = None) -> None:
        if stage == self._stop:
            raise KeyboardInterrupt


def test_goes_on_with_the_network_that_is_right_more_often(
    photos: Path, networks: tuple[str, str], tmp_path: Path
) -> None:
    heard = Heard()
    outcome = run(photos, tmp_path / "out", networks[::-1], observer=heard)
    assert outcome.findings is not None
    tried = outcome.findings.candidates
    assert tried is not None
    blind, seeing = tried.rows
    assert seeing.score > 0.9 > 0.8 > blind.score
    assert seeing.interval[0] < seeing.score <= seeing.interval[1]
    assert tried.taken == 1
    assert seeing.octets == Path(networks[0]).stat().st_size
    assert any("none of them for the test" in text for text in heard.texts)
    assert any("seeing.onnx" in text and "2.0" in text for text in heard.texts)
    report = json.loads(outcome.report.with_suffix(".json").read_text())
    assert [row["name"] for row in report["candidates"]["rows"]] == list(networks[::-1])
    assert report["settings"]["model"] == networks[0]
    page = outcome.report.read_text()
    assert "Networks tried" in page
    assert "more than chance explains" in page
    assert Model.open(outcome.model, RuntimeConfig("cpu", 1)).card.preprocessing.size == (24, 24)
    assert "seeing.onnx" in outcome.findings.summary()["Tried"]


def test_each_network_is_opened_once(
    photos: Path, networks: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_trunk(model: str, *others: Any, **options: Any) -> Trunk:
        opened.append(model)
        return trunk.open_trunk(model, *others, **options)

    monkeypatch.setattr("finetune.job.run.open_trunk", open_trunk)
    run(photos, tmp_path / "out", networks)
    assert opened == list(networks)


def test_the_test_photos_choose_nothing(
    photos: Path, networks: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def choose(examples: Any, rows: Any, *others: Any) -> Any:
        used.extend(examples[row].key for row in rows)
        return choosing.choose(examples, rows, *others)

    monkeypatch.setattr(candidates, "choose", choose)
    outcome = run(photos, tmp_path / "out", networks, measure="split")
    assert outcome.findings is not None
    assert outcome.findings.measured_on == "test"
    assert not set(used) & set(outcome.findings.ids)
    assert len(used) + len(outcome.findings.ids) == 60


def test_the_file_is_that_of_a_run_with_the_network_alone(
    photos: Path, networks: tuple[str, str], tmp_path: Path
) -> None:
    """But for what its card says of the recipe."""
    tried = run(photos, tmp_path / "tried", networks).model
    recipe = Recipe(model=networks[0], views=1, training=QUICK)
    alone = finetune(open_dataset(photos), recipe, tmp_path / "alone", device="cpu", threads=1).model
    one, other = (onnx.load(path).graph.SerializeToString(deterministic=True) for path in (tried, alone))
    assert one == other


def test_resuming_keeps_the_choice_whatever_the_clock_says(
    photos: Path, networks: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = str(tiny_classifier(tmp_path / "twin.onnx", size=24))
    whole = run(photos, tmp_path / "whole", (twin, networks[0])).model
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out", (twin, networks[0]), observer=Heard("train"))
    monkeypatch.setattr(candidates, "milliseconds", lambda models: [9.0, 1.0])
    outcome = run(photos, tmp_path / "out", (twin, networks[0]), resume=True)
    assert outcome.findings is not None
    assert outcome.findings.candidates is not None
    assert [row.milliseconds for row in outcome.findings.candidates.rows] == [2.0, 2.0]
    assert outcome.model.read_bytes() == whole.read_bytes()
    assert run(photos, tmp_path / "out", (twin, networks[0]), resume=True).findings is None


def test_a_number_is_compared_by_how_far_off_it_is(networks: tuple[str, str], tmp_path: Path) -> None:
    heard = Heard()
    numbers = list_of_numbers(tmp_path / "numbers")
    outcome = run(numbers, tmp_path / "out", networks, task="regression", observer=heard)
    assert outcome.findings is not None
    assert outcome.findings.candidates is not None
    seeing, blind = outcome.findings.candidates.rows
    assert seeing.score < blind.score
    assert outcome.findings.candidates.taken == 0
    assert any("off by" in text for text in heard.texts)


def _tried(*milliseconds: float) -> list[choosing.Tried]:
    return [choosing.Tried(f"net{i}", np.zeros((0, 1)), one, 1) for i, one in enumerate(milliseconds)]


def _wrong(count: int, of: int = 200, first: int = 0) -> Any:
    missed = np.zeros(of)
    missed[first : first + count] = 1
    return missed


@pytest.mark.parametrize(
    ("milliseconds", "wrong", "taken", "words"),
    [
        # 10 changed answers, 7 to 3: p = 0.34
        ((8.0, 2.0), (_wrong(10), _wrong(14, first=3)), 1, "not provably worse and 4.0 times as fast"),
        ((8.0, 2.0), (_wrong(10), _wrong(40)), 0, "by more than chance explains"),
        # equally fast: the better one
        ((2.2, 2.0), (_wrong(10), _wrong(14, first=3)), 0, "not clearly faster"),
        ((2.0, 2.0), (_wrong(10), _wrong(10)), 0, "not clearly faster"),
        # the fastest of all is worse than chance explains
        ((8.0, 4.0, 1.0), (_wrong(10), _wrong(12), _wrong(60)), 1, "2.0 times as fast"),
    ],
)
def test_the_faster_one_where_no_difference_is_proven(
    milliseconds: tuple[float, ...], wrong: tuple[Any, ...], taken: int, words: str
) -> None:
    chosen = choosing._choice(_tried(*milliseconds), wrong, True)
    assert chosen.taken == taken
    assert words in chosen.words


def test_images_that_one_network_has_no_answer_for_are_left_out_of_all() -> None:
    examples = [Example(item(name, b"")) for name in "abcd"]
    (two, three) = (
        choosing.Tried("net", np.array(rows, np.float32)[:, None], 1.0, 1) for rows in ([0, 2], [0, 1, 3])
    )
    lost = {"b", "c", "d"}
    for tried, failed in ((two, {"b", "d"}), (three, {"c"})):
        np.testing.assert_array_equal(candidates._without(tried, failed, lost, examples).vectors, [[0]])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("builtin", "resnet18_v1"),
            "resnet18_v1 is not on this machine yet. Run `graft models pull resnet18_v1`",
        ),
        (
            ("mobilenet_v2", "inception_v3.tf_in1k"),
            "Run `graft models pull mobilenet_v2 inception_v3.tf_in1k --allow-unpinned` first",
        ),
        (("builtin", "mobilnet_v2"), "Did you mean mobilenet_v2"),
    ],
)
def test_what_is_not_here_is_told_before_anything_starts(
    names: tuple[str, ...], words: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownModelError, match=r"not on this machine|not known") as refused:
        run(photos, tmp_path / "out", names)
    assert words in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": ("builtin",)}, "expected two networks or more"),
        ({"candidates": ("builtin", "builtin")}, "each once"),
        ({"candidates": ("a", "b"), "model": "c"}, "both say which network"),
        ({"candidates": ("a", "b"), "cut": "pool"}, "cut 'pool' is a place in one network"),
        ({"candidates": "a,b"}, "candidates is 'a,b'; expected names"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match="candidates") as refused:
        Recipe(**options)
    assert words in str(refused.value)


def test_networks_take_turns_on_the_clock(tiny: Model) -> None:
    """A slow minute of the machine slows all of them, and the fastest round counts."""
    ticks = iter(range(10_000))
    readings = [0.0]

    def clock() -> float:
        number = next(ticks)
        if number % 2:  # a run ends: those of the first half take long
            readings.append(readings[-1] + (9.0 if number < 12 else 0.5))
        return readings[-1]

    one, other = MILLISECONDS([tiny, tiny], clock)
    assert one == other == pytest.approx(500 / tiny.batch_size)


def test_too_few_photos_to_compare_on(networks: tuple[str, str], tmp_path: Path) -> None:
    few = folder_of(tmp_path / "few", 1)
    with pytest.raises(InputError, match="too few to compare networks on"):
        run(few, tmp_path / "out", networks)


def test_an_estimator_takes_them_too(photos: Path, networks: tuple[str, str]) -> None:
    tuner = FineTuner(
        candidates=list(networks),
        views=1,
        training={"epochs": 4, "learning_rate": 0.05},
        device="cpu",
        threads=1,
    ).fit(str(photos))
    assert tuner.findings_ is not None
    assert tuner.findings_.candidates is not None
    assert tuner.findings_.candidates.taken == 0


@pytest.mark.parametrize("tested", [0, 6])
def test_a_choice_that_hangs_on_a_few_photos_says_what_follows_from_it(
    tested: int, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is measured on test photos is not too good for it."""
    examples = open_dataset(photos).examples
    wrong = {"one": 0, "two": 1}  # each misses another photo

    def misses(vectors: Any, y: Any, folds: Any, classifies: bool) -> Any:
        held = folds[wrong[vectors[0]]][1]
        return np.isin(np.arange(len(y)), held[:1]).astype(np.float64)

    monkeypatch.setattr(choosing, "_misses", misses)
    tried = [choosing.Tried(name, np.array([name] * len(examples)), 1.0, 1) for name in wrong]
    rows = np.arange(len(examples) - tested)
    words = choosing.choose(examples, rows, np.arange(len(examples)), tried, Recipe()).words
    assert "The choice hangs on a few images: without one part of them it would be two." in words
    assert ("may be a little too good" in words) is (tested == 0)

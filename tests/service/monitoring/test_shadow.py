"""Shadows: what they count, and which pairs they refuse."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import Target
from models.errors import InputError
from models.model import Model
from models.preprocessing import Preprocessing
from models.runtime import RuntimeConfig
from service.monitoring.shadow import CONVINCED, Shadow, check_pair
from service.results import ImageResult, image_results
from tests.fixtures import tiny_classifier
from tests.service.monitoring.shadowing import WAIT_S, other
from tests.tuned import tuned_regression

CPU = RuntimeConfig("cpu", 1)


@pytest.fixture
def tiny(tiny_path: Path) -> Model:
    return Model.open(tiny_path, CPU)


@pytest.fixture
def opposite(tmp_path: Path) -> Model:
    return Model.open(other(tmp_path / "opposite.onnx"), CPU)


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Images of one colour, red first."""
    pixels = [np.zeros((16, 16, 3), np.uint8) for _ in range(count)]
    for number, image in enumerate(pixels):
        image[..., number % 3] = 255
    return pixels


class Clock:
    """A clock that stands still unless somebody moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def hear(shadow: Shadow, model: Model, images: list[NDArray[np.uint8]]) -> None:
    shadow.hear(images, image_results(model, np.stack(images)))
    assert shadow.settle(WAIT_S)


def test_a_model_agrees_with_itself(tiny: Model) -> None:
    shadow = Shadow(tiny.card, tiny, 1.0, 0.05)
    for _ in range(30):
        hear(shadow, tiny, pictures(6))
    state = shadow.state
    assert (state.images, state.disagreements, state.failed) == (180, 0, 0)
    assert (state.confident, state.confident_disagreements) == (180, 0)
    assert state.verdict == "less"
    assert list(state.examples) == []
    shadow.close()


def test_disagreements_are_counted_with_pairs_and_examples(tiny: Model, opposite: Model) -> None:
    shadow = Shadow(tiny.card, opposite, 1.0, 0.05)
    for _ in range(10):
        hear(shadow, tiny, pictures(3))
    state = shadow.state
    assert (state.images, state.disagreements) == (30, 30)
    assert state.verdict == "more"
    assert state.interval[0] == pytest.approx(0.8843, abs=1e-4)
    assert state.pairs[("red", "green")] == 10
    assert len(state.examples) == 20  # the last ones
    assert state.examples[-1].first.text == "blue"
    assert state.examples[-1].first.probability is not None
    shadow.close()


def test_little_is_undecided(tiny: Model, opposite: Model) -> None:
    shadow = Shadow(tiny.card, opposite, 1.0, 0.9)
    hear(shadow, tiny, pictures(3))
    assert shadow.state.verdict == "undecided"
    assert shadow.state.more < CONVINCED
    shadow.close()


def test_it_rests_so_that_its_share_is_kept(tiny: Model) -> None:
    clock = Clock()
    shadow = Shadow(
        tiny.card, _Slow(tiny, lambda: clock.__setattr__("now", clock.now + 1.0)), 0.1, clock=clock
    )
    hear(shadow, tiny, pictures(2))
    assert shadow.state.seconds == 1.0
    for now, images in ((1.0, 2), (9.99, 2), (10.0, 4)):  # at work for 1 second in 10
        clock.now = now
        hear(shadow, tiny, pictures(2))
        assert shadow.state.images == images
    assert shadow.state.dropped == {"share": 4, "busy": 0}
    shadow.close()


def test_while_it_is_at_work_or_others_wait_images_are_dropped_and_nobody_waits(tiny: Model) -> None:
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go.wait(WAIT_S)

    queued = [0]
    shadow = Shadow(tiny.card, _Slow(tiny, hold), 1.0, queued=lambda: queued[0])
    results = image_results(tiny, np.stack(pictures(5)))
    shadow.hear(pictures(5), results)
    assert begun.wait(WAIT_S)
    shadow.hear(pictures(5), results)  # returns at once: the shadow is held
    assert shadow.state.dropped["busy"] == 5
    go.set()
    assert shadow.settle(WAIT_S)
    queued[0] = 1
    shadow.hear(pictures(5), results)
    assert shadow.state.dropped["queue"] == 5
    assert shadow.state.images == 5
    shadow.close()


def test_of_many_images_eight_are_taken(tiny: Model) -> None:
    shadow = Shadow(tiny.card, tiny, 1.0)
    hear(shadow, tiny, pictures(30))
    assert (shadow.state.images, shadow.state.dropped["busy"]) == (8, 22)
    shadow.close()


def test_what_it_does_wrong_is_counted_and_it_goes_on(tiny: Model) -> None:
    failing = [True]

    def fail() -> None:
        if failing[0]:
            raise RuntimeError("out of memory")

    shadow = Shadow(tiny.card, _Slow(tiny, fail), 1.0)
    hear(shadow, tiny, pictures(4))
    assert (shadow.state.failed, shadow.state.images) == (4, 0)
    assert shadow.state.last_error == "RuntimeError: out of memory"
    failing[0] = False
    hear(shadow, tiny, pictures(4))
    assert shadow.state.images == 4
    shadow.close()


AT_THE_END = """
import atexit
import sys
import threading
import numpy as np
from models.model import Model
from models.runtime import RuntimeConfig
from service.monitoring.shadow import Shadow
from service.results import image_results

model = Model.open(sys.argv[1], RuntimeConfig("cpu", 1))
images = [np.zeros((1200, 1200, 3), np.uint8)] * 8
names = lambda: [thread.name for thread in threading.enumerate()]
atexit.register(lambda: print("graft-shadow" in names()))  # after what is registered later
shadow = Shadow(model.card, model, 1.0)
shadow.hear(images, image_results(model, np.stack(images[:1])) * 8)
"""


def test_python_ends_in_peace_while_it_is_at_work(tmp_path: Path) -> None:
    path = tiny_classifier(tmp_path / "slow.onnx", size=1200)
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END, str(path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


class _Slow(Model):
    """A model of which something happens before each run."""

    def __init__(self, model: Model, before: Callable[[], None]) -> None:
        self._before = before
        super().__init__(model.session, model.card)

    def run(self, *given: object, **named: object) -> list[NDArray[np.float32]]:  # type: ignore[override]
        self._before()
        return super().run(*given, **named)  # type: ignore[arg-type]


# Which pairs there are


def test_classes_are_compared_by_name(tmp_path: Path, tiny: Model) -> None:
    turned = Model.open(other(tmp_path / "turned.onnx", labels=("green", "red", "violet")), CPU)
    assert check_pair(tiny.card, turned.card) == (("blue",), ("violet",))
    none = Model.open(other(tmp_path / "none.onnx", labels=("a", "b", "c")), CPU)
    with pytest.raises(InputError, match="has none of the classes of tiny"):
        check_pair(tiny.card, none.card)


def test_other_pixels_and_other_tasks_are_refused(tmp_path: Path, tiny: Model) -> None:
    larger = Model.open(tiny_classifier(tmp_path / "larger.onnx", size=32), CPU)
    with pytest.raises(
        InputError, match="takes images like this: squashed to 32 x 32 pixels, bilinear; and tiny"
    ):
        check_pair(tiny.card, larger.card)
    cropped, wider = (
        dataclasses.replace(tiny.card, preprocessing=Preprocessing((16, 16), resize_to=side))
        for side in (18, 20)
    )
    with pytest.raises(
        InputError, match=r"shorter side to 20, .* shorter side to 18, .* the same preprocessing"
    ):
        check_pair(cropped, wider)
    regression = Model.open(tuned_regression(tmp_path), CPU)
    with pytest.raises(InputError, match="is for regression and tiny for classification"):
        check_pair(tiny.card, regression.card)
    assert check_pair(regression.card, regression.card) == ((), ())
    blind = dataclasses.replace(regression.card, target=Target("redness"))
    with pytest.raises(InputError, match="does not tell how far its numbers may be from the truth"):
        check_pair(blind, regression.card)


def test_numbers_differ_by_more_than_they_may_be_from_the_truth(tmp_path: Path) -> None:
    model = Model.open(tuned_regression(tmp_path), CPU)  # 0.25 around the truth
    shadow = Shadow(model.card, model, 1.0)
    images = [np.full((16, 16, 3), 255, np.uint8)] * 2
    shadow.hear(images, [ImageResult(value=99.9), ImageResult(value=99.0)])
    assert shadow.settle(WAIT_S)
    assert (shadow.state.images, shadow.state.disagreements) == (2, 1)
    assert shadow.state.examples[0].second.text == "100"
    shadow.close()

"""Shadows: what they count, what they refuse, and that nobody else notices them."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from onnx import numpy_helper

from models.card import Label, Target, card_of, write_card
from models.errors import InputError, UnknownModelError
from models.model import Model
from models.preprocessing import Preprocessing
from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.monitoring.shadow import CONVINCED, Shadow, check_pair
from service.monitoring.shadows import ShadowRule, rules_of
from service.registry import Registry
from service.results import ImageResult, image_results
from service.safety import Guard
from service.sources import Source
from service.tokens import Tokens
from tests.fixtures import plain, tiny_classifier
from tests.tuned import tuned_regression

CPU = RuntimeConfig("cpu", 1)
WAIT_S = 30.0


def other(path: Path, *, sharpness: float = -10.0, labels: tuple[str, ...] = ()) -> Path:
    """The tiny classifier, which takes the colour that is least there, with other names where they are given."""
    proto = onnx.load(tiny_classifier(path))
    for weight in proto.graph.initializer:
        if weight.name == "sharpness":
            weight.CopyFrom(numpy_helper.from_array(np.array(sharpness, np.float32), "sharpness"))
    card = card_of(proto)
    assert card is not None
    if labels:
        write_card(proto, dataclasses.replace(card, labels=tuple(Label(name, name) for name in labels)))
    path.write_bytes(proto.SerializeToString())
    return path


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


@pytest.mark.parametrize(("share", "threshold", "name"), [
    (0.0, 0.05, "share"), (1.5, 0.05, "share"), (math.nan, 0.05, "share"), (math.inf, 0.05, "share"),
    (0.1, 0.0, "threshold"), (0.1, 1.0, "threshold"), (0.1, math.nan, "threshold"), (-1.0, 0.05, "share"),
])  # fmt: skip
def test_shares_that_are_none_are_refused(share: float, threshold: float, name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is "):
        ShadowRule("a", "b", None, share, threshold)


@pytest.mark.parametrize(("entries", "reason"), [
    (("cats",), "the shadow is 'cats'; expected NAME=MODEL"),
    (("cats=dogs:x",), "expected NAME=MODEL"),
    (("cats=cats",), "a model cannot be its own shadow"),
    (("cats=dogs", "cats=birds"), "are about one model"),
])  # fmt: skip
def test_entries_that_are_none_are_refused(entries: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        rules_of(entries, 0.1, 0.05)


def test_an_alias_of_the_zoo_is_its_name() -> None:
    (rule,) = rules_of(("builtin=cats:2",), 0.1, 0.05)
    assert (rule.first, rule.second, rule.version) == ("graft-mini", "cats", 2)


# Through the service


@pytest.fixture
def paths(tmp_path: Path, tiny_path: Path) -> tuple[str, str]:
    return f"tiny={tiny_path}", f"opposite={other(tmp_path / 'opposite.onnx')}"


@pytest.fixture
def shadowed(config: ServiceConfig, paths: tuple[str, str]) -> Iterator[Registry]:
    registry = Registry(
        dataclasses.replace(config, models=paths, shadows=("tiny=opposite",), shadow_share=1.0, outputs="all")
    )
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(shadowed: Registry) -> FlaskClient:
    return create_app(registry=shadowed, guard=_Open()).test_client()


class _Open(Guard):
    """Lets everybody administer."""

    def __init__(self) -> None:
        super().__init__(Tokens())

    def check(self, *given: object) -> None:
        pass


def classify(client: FlaskClient, colour: str = "red") -> dict[str, object]:
    answer = client.post("/v1/classify?model=tiny", data={"image": (io.BytesIO(plain(colour)), "a.png")})
    assert answer.status_code == 200
    return answer.get_json()["results"][0]  # type: ignore[no-any-return]


def settled(registry: Registry) -> None:
    running = registry.shadows.standing["tiny"].running
    assert running is not None
    assert running.shadow.settle(WAIT_S)


def test_clients_see_nothing_of_it_and_the_route_tells(client: FlaskClient, shadowed: Registry) -> None:
    before = client.get("/v1/models/tiny/shadow").get_json()
    assert before["sentence"] == "opposite version 1 has answered no image yet"
    assert classify(client)["predictions"][0]["label"] == "red"  # type: ignore[index]
    settled(shadowed)
    after = client.get("/v1/models/tiny/shadow").get_json()
    assert (after["state"], after["images"], after["disagreements"]) == ("running", 1, 1)
    assert after["shadow"] == {"name": "opposite", "version": 1}
    assert after["examples"][0]["model"]["answer"] == "red"
    assert after["pairs"] == [{"model": "red", "shadow": "green", "images": 1}]
    assert after["verdict"] == "undecided"
    assert "which of the two is right only the truth could tell" in after["sentence"]
    page = client.get("/metrics").text
    assert 'graft_shadow_images_total{model="tiny",outcome="disagreed",version="1"} 1.0' in page


def test_tensors_of_other_protocols_count_too(client: FlaskClient, shadowed: Registry) -> None:
    pixels = [[[[255, 0, 0]] * 16] * 16] * 2
    body = {
        "inputs": [{"name": "image", "shape": [2, 16, 16, 3], "datatype": "UINT8", "data": pixels}],
        "outputs": [{"name": "logits"}],
    }
    answer = client.post("/v2/models/tiny/infer", data=json.dumps(body))
    assert [output["name"] for output in answer.get_json()["outputs"]] == ["logits"]
    settled(shadowed)
    assert client.get("/v1/models/tiny/shadow").get_json()["images"] == 2


def test_a_failing_shadow_touches_no_client(
    client: FlaskClient, shadowed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = shadowed.shadows.standing["tiny"].running
    assert running is not None
    monkeypatch.setattr(
        running.shadow._second.session, "run", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    assert classify(client)["predictions"][0]["label"] == "red"  # type: ignore[index]
    settled(shadowed)
    after = client.get("/v1/models/tiny/shadow").get_json()
    assert (after["failed"], after["images"], after["last_error"]) == (1, 0, "RuntimeError: broken")


def test_a_swap_of_either_begins_anew_and_says_so(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    for name, spec in (path.split("=") for path in paths):
        classify(client)
        settled(shadowed)
        assert client.get("/v1/models/tiny/shadow").get_json()["images"] == 1
        shadowed.open(Source(name, 1, spec))
        after = client.get("/v1/models/tiny/shadow").get_json()
        assert (after["state"], after["images"]) == ("running", 0)
        assert after["note"].startswith("anew since ")
        assert f"{name} version 1 was replaced or loaded again" in after["note"]


def test_without_the_shadow_or_its_model_it_waits(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    shadowed.unload("opposite")
    waiting = client.get("/v1/models/tiny/shadow").get_json()
    assert waiting["state"] == "waiting"
    assert "'opposite' is not served here" in waiting["sentence"]
    classify(client)
    shadowed.open(Source("opposite", 1, paths[1].split("=")[1]))
    assert client.get("/v1/models/tiny/shadow").get_json()["state"] == "running"


def test_a_version_that_becomes_the_one_that_answers_is_its_own_shadow_and_waits(
    client: FlaskClient, shadowed: Registry, paths: tuple[str, str]
) -> None:
    spec = paths[1].split("=")[1]
    shadowed.open(Source("tiny", 2, spec))
    shadowed.move_label("tiny", "stable", 1)
    shadowed.shadows.put(ShadowRule("tiny", "tiny", 2, 1.0))
    classify(client)
    settled(shadowed)
    assert client.get("/v1/models/tiny/shadow").get_json()["disagreements"] == 1
    shadowed.move_label("tiny", "stable", 2)
    waiting = client.get("/v1/models/tiny/shadow").get_json()
    assert (waiting["state"], waiting["version"]) == ("waiting", None)
    assert "version 2 of tiny answers itself" in waiting["sentence"]


def test_an_administrator_puts_and_removes_one(client: FlaskClient) -> None:
    removed = client.delete("/v1/admin/models/tiny/shadow")
    assert (removed.status_code, removed.get_json()["state"]) == (200, "none")
    assert client.delete("/v1/admin/models/tiny/shadow").status_code == 404
    assert client.get("/v1/models/tiny/shadow").get_json()["sentence"] == "tiny has no shadow"
    body = {"model": "opposite", "share": 0.5, "threshold": 0.2}
    put = client.put("/v1/admin/models/tiny/shadow", json=body).get_json()
    assert (put["state"], put["share"], put["threshold"]) == ("running", 0.5, 0.2)


@pytest.mark.parametrize(("body", "status", "reason"), [
    ('{"model": "tiny"}', 400, "answers itself"),
    ('{"model": "gone"}', 404, "is not served here"),
    ('{"model": "opposite", "version": 7}', 404, "has no version 7"),
    ('{"model": 3}', 400, "model is no text"),
    ('{"model": "opposite", "version": "2"}', 400, "expected a whole number"),
    ('{"model": "opposite", "share": 0}', 400, "share is 0"),
    ('{"model": "opposite", "share": 1.5}', 400, "share is 1.5"),
    ('{"model": "opposite", "share": NaN}', 400, "share is nan"),
    ('{"model": "opposite", "share": "all"}', 400, "share is 'all'"),
    ('{"model": "opposite", "share": true}', 400, "share is 'True'"),
    ('{"model": "opposite", "more": 1}', 400, "the JSON has another form"),
    ("[]", 400, "the JSON has another form"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_the_old_one_goes_on(
    body: str, status: int, reason: str, client: FlaskClient
) -> None:
    answer = client.put("/v1/admin/models/tiny/shadow", data=body)
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text
    assert client.get("/v1/models/tiny/shadow").get_json()["state"] == "running"


def test_a_shadow_that_cannot_be_ends_the_start(config: ServiceConfig, paths: tuple[str, str]) -> None:
    registry = Registry(dataclasses.replace(config, models=paths, shadows=("tiny=gone",)))
    with pytest.raises(UnknownModelError, match="'gone' is not served here"):
        registry.load()
    registry.close()


def test_models_that_are_not_served_have_none(client: FlaskClient) -> None:
    assert client.get("/v1/models/gone/shadow").status_code == 404

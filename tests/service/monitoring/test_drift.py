"""Drift: quiet on what a model was taught with, an alarm on other things, and how often it deceives."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image

from models.card import Label
from models.errors import InputError
from models.reference import Reference
from service.app import create_app
from service.config import ServiceConfig
from service.monitoring.drift import FALSE_ALARMS, Drift, _excess, _Group, two_samples, verdict
from service.registry import Registry
from service.results import ImageResult
from service.sources import Source
from tests.fixtures import encoded
from tests.tuned import described_classifier, shades, tuned_classifier

LABELS = tuple(Label(name, name) for name in ("red", "green", "blue"))
WIDTH = 4


def lying(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Projections (count, 4) of a skewed kind."""
    return (random.exponential(size=(count, WIDTH)) - 1).astype(np.float32)


def reference(random: np.random.Generator, images: int = 300) -> Reference:
    rows, counts = lying(random, images), (images // 2, images // 3, images - images // 2 - images // 3)
    frequencies = random.normal(size=(WIDTH, 2))
    return Reference(
        images, "validation images", counts, rows.mean(0).astype(np.float64),
        np.cov(rows.astype(np.float64), rowvar=False), rows, np.repeat(np.arange(3), counts),
        frequencies, np.array([0.1, 2.0]),
    )  # fmt: skip


def results(
    random: np.random.Generator, rows: NDArray[np.float32], shares: tuple[float, ...]
) -> list[ImageResult]:
    best = random.choice(3, size=len(rows), p=shares)
    return [
        ImageResult(np.eye(3, dtype=np.float32)[c], projection=row) for c, row in zip(best, rows, strict=True)
    ]


USUAL = (0.5, 1 / 3, 1 / 6)


@pytest.mark.parametrize(("window", "known"), [(16, 8), (16, 24), (16, 300), (64, 64), (128, 24)])
def test_p_values_are_uniform_for_skewed_rows_and_small_samples(window: int, known: int) -> None:
    random, draws = np.random.default_rng(window + known), 1000
    chances = np.array([two_samples(lying(random, window), lying(random, known))[1] for _ in range(draws)])
    for level in (0.01, 0.05, 0.2, 0.5):
        share, deviation = (chances < level).mean(), (level * (1 - level) / draws) ** 0.5
        assert abs(share - level) < 4 * deviation + 0.15 * level, level


def test_within_classes_p_values_are_uniform_although_the_classes_are_mixed_otherwise() -> None:
    random, draws = np.random.default_rng(11), 500
    chances, plain = list[float](), list[float]()
    for _ in range(draws):
        live, known = random.choice(3, 48, p=(0.7, 0.2, 0.1)), random.choice(3, 150)
        x, y = lying(random, 48) + live[:, None] * 2, lying(random, 150) + known[:, None] * 2
        chances.append(two_samples(x, y, live, known)[1])
        plain.append(two_samples(x, y)[1])
    for level in (0.01, 0.05, 0.2, 0.5):
        deviation = (level * (1 - level) / draws) ** 0.5
        assert abs((np.array(chances) < level).mean() - level) < 4 * deviation + 0.15 * level, level
    assert np.mean(np.array(plain) < 0.01) > 0.5  # without classes the mix counts as a difference


def test_moments_over_all_choices_are_exact() -> None:
    """Two classes of four and three rows: all 6 x 3 ways to choose two and one of them."""
    random = np.random.default_rng(12)
    rows = [random.exponential(size=(4, 2)), random.exponential(size=(3, 2))]
    statistics = []
    for first in itertools.combinations(range(4), 2):
        for second in range(3):
            x = np.concatenate([rows[0][list(first)], rows[1][[second]]])
            y = np.concatenate([np.delete(rows[0], first, 0), np.delete(rows[1], second, 0)])
            statistics.append(two_samples(x, y, np.array([0, 0, 1]), np.array([0, 0, 1, 1]))[0])
    groups = [_Group(one - one.mean(axis=0), n) for one, n in zip(rows, (2, 1), strict=True)]
    values, vectors = np.linalg.eigh(sum(one.choices * one.rows.T @ one.rows for one in groups))
    whitened = [one.rows @ (vectors / np.sqrt(values)) for one in groups]
    fourth = 8 + sum(_excess(u, one.first, one.choices) for u, one in zip(whitened, groups, strict=True))
    assert np.mean(statistics) == pytest.approx(2 / 5)
    assert np.mean(np.square(statistics)) == pytest.approx(fourth / 25)


def test_a_shift_is_found() -> None:
    random = np.random.default_rng(0)
    statistic, chance = two_samples(lying(random, 64) + np.float32(0.8), lying(random, 200))
    assert chance < 1e-6
    assert 0 < statistic < 1


def test_two_samples_that_do_not_vary_are_alike() -> None:
    assert two_samples(np.ones((20, 3)), np.ones((30, 3)))[1] == 1.0
    # Unless they are apart: then all variation tells them from each other.
    assert two_samples(np.ones((20, 30)), np.zeros((3, 30))) == pytest.approx((1.0, 0.0), abs=1e-3)


def test_windows_are_compared_when_they_are_full_and_share_no_image() -> None:
    random = np.random.default_rng(1)
    drift = Drift(reference(random), LABELS, 32, clock=lambda: 5.0)
    drift.hear(results(random, lying(random, 31), USUAL))
    assert (drift.state.pending, drift.state.windows, drift.state.last) == (31, 0, None)
    drift.hear(results(random, lying(random, 70), USUAL))
    state = drift.state
    assert (state.pending, state.windows) == (5, 3)
    assert state.last is not None
    assert (state.last.number, state.last.images, state.last.ended) == (3, 32, 5.0)


def test_quiet_over_many_windows_of_the_same_kind() -> None:
    random = np.random.default_rng(2)
    drift = Drift(reference(random, 900), LABELS, 64)
    chances = []
    for _ in range(100):
        drift.hear(results(random, lying(random, 64), USUAL))
        assert drift.state.last is not None
        chances.append(drift.state.last.p_features)
    assert drift.state.alarms == 0
    assert drift.state.last is not None
    assert "look like those that were held out" in verdict(drift.state.last)
    # One reference serves all windows, so they are not quite independent of one another.
    assert 0.3 < np.mean(chances) < 0.7
    assert 20 < np.sum(np.array(chances) < 0.5) < 80


def test_the_chance_of_ever_raising_a_false_alarm_is_bounded() -> None:
    random = np.random.default_rng(3)
    drift = Drift(reference(random), LABELS, 16)
    levels = []
    for _ in range(200):
        drift.hear(results(random, lying(random, 16), USUAL))
        assert drift.state.last is not None
        levels.append(drift.state.last.level)
    assert 0.99 * FALSE_ALARMS < 2 * sum(levels) < FALSE_ALARMS


def test_other_images_raise_an_alarm_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(4)
    drift = Drift(reference(random), LABELS, 64, "cats version 2")
    drift.hear(results(random, lying(random, 128) + np.float32(1), USUAL))
    state = drift.state
    assert (state.windows, state.alarms) == (2, 2)
    assert state.last is not None
    assert state.last.alarm
    assert state.last.distance == pytest.approx(2.0, abs=0.5)  # one deviation along each of four axes
    assert "do not look like those that were held out in training (1.8 deviations" in verdict(state.last)
    assert caplog.text.count("cats version 2: drift: the last 64 images do not look like") == 1


def test_other_classes_raise_an_alarm_that_names_one() -> None:
    random = np.random.default_rng(5)
    drift = Drift(reference(random), LABELS, 64)
    drift.hear(results(random, lying(random, 64), (0.1, 0.1, 0.8)))
    last = drift.state.last
    assert last is not None
    assert (last.alarm, last.mixed) == (False, True)
    assert last.p_features > last.level
    assert last.changed is not None
    assert last.changed.label.name == "blue"
    assert last.changed.expected == pytest.approx(1 / 6)
    assert "look like those that were held out" in verdict(last)
    assert "classes are mixed otherwise: blue" in verdict(last)


def test_features_that_are_no_numbers_are_left_out_and_counted() -> None:
    random = np.random.default_rng(6)
    drift = Drift(reference(random), LABELS, 16)
    rows = lying(random, 20)
    rows[3, 1], rows[7, 0], rows[9] = np.nan, np.inf, (np.inf, -np.inf, 0, 0)
    drift.hear(results(random, rows, USUAL))
    assert (drift.state.unusable, drift.state.windows, drift.state.pending) == (3, 1, 1)
    assert drift.state.last is not None
    assert np.isfinite(drift.state.last.statistic)


def test_memory_is_that_of_a_window() -> None:
    random = np.random.default_rng(7)
    drift = Drift(reference(random), LABELS, 16)
    size = sum(array.nbytes for array in vars(drift).values() if isinstance(array, np.ndarray))
    drift.hear(results(random, lying(random, 1000), USUAL))
    assert sum(array.nbytes for array in vars(drift).values() if isinstance(array, np.ndarray)) == size


# Through the service


@pytest.fixture
def described(tmp_path: Path) -> Path:
    return described_classifier(tmp_path)


@pytest.fixture
def served(described: Path, config: ServiceConfig) -> Iterator[Registry]:
    registry = Registry(dataclasses.replace(config, models=(str(described),), drift_window=20, outputs="all"))
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(served: Registry) -> FlaskClient:
    return create_app(registry=served).test_client()


def post(client: FlaskClient, colours: NDArray[np.uint8]) -> None:
    data = {"image": [(_png(colour), f"{i}.png") for i, colour in enumerate(colours)]}
    assert client.post("/v1/classify", data=data).status_code == 200


def _png(colour: NDArray[np.uint8]) -> io.BytesIO:
    red, green, blue = map(int, colour)
    return io.BytesIO(encoded(Image.new("RGB", (16, 16), (red, green, blue))))


def test_quiet_and_alarm_over_http(client: FlaskClient) -> None:
    random = np.random.default_rng(8)
    before = client.get("/v1/models/described/drift").get_json()
    assert (before["state"], before["pending"], before["reference"]["images"]) == ("collecting", 0, 200)
    assert before["sentence"] == "no window is full yet; 20 images are missing"
    post(client, shades(random, 20))
    quiet = client.get("/v1/models/described/drift").get_json()
    assert (quiet["state"], quiet["windows"], quiet["alarms"]) == ("quiet", 1, 0)
    assert quiet["last"]["p_value"] > 0.001
    assert not quiet["last"]["mixed"]
    post(client, np.full((20, 3), 128, np.uint8) + random.integers(0, 9, (20, 3), np.uint8))
    alarm = client.get("/v1/models/described/drift").get_json()
    assert (alarm["state"], alarm["windows"], alarm["alarms"]) == ("alarm", 2, 1)
    assert alarm["last"]["p_value"] < 1e-6
    assert alarm["sentence"].startswith("drift: the last 20 images do not look like those")
    page = client.get("/metrics").text
    assert 'graft_drift_alarm{model="described",test="features",version="1"} 1.0' in page
    assert 'graft_drift_windows_total{model="described",version="1"} 2.0' in page
    assert 'graft_drift_p_value{model="described",test="features",version="1"}' in page


def test_tensors_of_other_protocols_are_counted_and_get_what_they_asked_for(client: FlaskClient) -> None:
    pixels = [[[[200, 40, 40]] * 16] * 16] * 3
    body = {
        "inputs": [{"name": "image", "shape": [3, 16, 16, 3], "datatype": "UINT8", "data": pixels}],
        "outputs": [{"name": "logits"}],
    }
    answer = client.post("/v2/models/described/infer", data=json.dumps(body))
    assert answer.status_code == 200, answer.text
    assert [output["name"] for output in answer.get_json()["outputs"]] == ["logits"]
    assert client.get("/v1/models/described/drift").get_json()["pending"] == 3


def test_features_are_not_counted(client: FlaskClient) -> None:
    answer = client.post("/v1/features?cut=pool", data={"image": (_png(np.array([9, 9, 9])), "a.png")})
    assert answer.status_code == 200
    assert client.get("/v1/models/described/drift").get_json()["pending"] == 0


def test_a_swap_begins_anew(client: FlaskClient, served: Registry, described: Path) -> None:
    post(client, shades(np.random.default_rng(9), 25))
    assert client.get("/v1/models/described/drift").get_json()["windows"] == 1
    served.open(Source("described", 1, str(described)))
    after = client.get("/v1/models/described/drift").get_json()
    assert (after["state"], after["windows"], after["pending"]) == ("collecting", 0, 0)


def test_a_file_that_tells_nothing_says_so(tmp_path: Path, config: ServiceConfig) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(tuned_classifier(tmp_path)),)))
    registry.load()
    client = create_app(registry=registry).test_client()
    answer = client.get("/v1/models/tuned/drift").get_json()
    assert (answer["state"], answer.get("last")) == ("none", None)
    assert answer["sentence"].startswith("the file tells nothing of the images")
    assert client.get("/v1/models/none/drift").status_code == 404
    registry.close()


def test_a_window_of_0_compares_nothing(described: Path, config: ServiceConfig) -> None:
    registry = Registry(dataclasses.replace(config, models=(str(described),), drift_window=0))
    registry.load()
    answer = create_app(registry=registry).test_client().get("/v1/models/described/drift").get_json()
    assert answer["sentence"].startswith("drift_window is 0")
    registry.close()
    with pytest.raises(InputError, match=r"drift_window is 5; expected 16 to 4,096 images, or 0"):
        ServiceConfig(drift_window=5)


def test_a_regression_is_compared_without_classes(tmp_path: Path, config: ServiceConfig) -> None:
    path = described_classifier(tmp_path, regression=True)
    registry = Registry(dataclasses.replace(config, models=(str(path),), drift_window=20))
    registry.load()
    client = create_app(registry=registry).test_client()
    post(client, shades(np.random.default_rng(8), 20))
    last = client.get("/v1/models/described/drift").get_json()["last"]
    assert last["p_classes"] is None
    assert last["p_value"] == last["p_features"] > 0.001
    registry.close()

"""A model that is ready to run: opened, cut, in batches of any size, from many threads."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.card import Label, Reject
from models.devices import Device
from models.errors import CutError, ImageError, ModelError, NumericsError
from models.model import Model, Prediction
from models.runtime import RuntimeConfig
from tests.fixtures import COLOURS, plain, tiny_classifier
from tests.tuned import tuned_classifier, tuned_regression

CPU = RuntimeConfig(device="cpu", threads=1)


def test_one_image_gives_one_list(tiny: Model, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    path.write_bytes(plain("red"))
    expected = tiny.classify([path], 2)[0]
    pixels = np.asarray(Image.open(path))
    with path.open("rb") as stream:
        for source in (path, str(path), plain("red"), Image.open(path), pixels, stream):
            assert tiny.classify(source, 2) == expected
    assert tiny.classify(np.stack([pixels, pixels]), 2) == [expected] * 2
    assert tiny.classify([]) == []


def test_more_images_than_suit_are_run_some_at_a_time(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    run = tiny.session.run

    def counted(feeds: dict[str, np.ndarray], outputs: list[str] | None = None) -> list[np.ndarray]:
        shown.append(len(feeds["image"]))
        return run(feeds, outputs)

    monkeypatch.setattr(tiny.session, "run", counted)
    batch = np.random.default_rng(0).integers(0, 256, (2 * tiny.batch_size + 1, 16, 16, 3), np.uint8)
    chunked = tiny.run(batch)
    assert shown == [tiny.batch_size, tiny.batch_size, 1]
    at_once = tiny.run(batch, batch_size=len(batch))
    assert shown[3:] == [len(batch)]
    for one, other in zip(chunked, at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert [len(values) for values in tiny.run(batch[:0])] == [0, 0]


def test_what_is_shown_of_a_model_is_short(tiny: Model) -> None:
    labels = tuple(Label(f"n{i}", f"a <b> & {i}") for i in range(1000))
    model = Model(tiny.session, dataclasses.replace(tiny.card, labels=labels), ["guessed: labels"])
    assert repr(model) == "<Model tiny: classification, 1,000 classes, input 16 x 16, on cpu>"
    assert repr(model.card) == "<ModelCard tiny: classification, 1,000 classes, input 16 x 16>"
    table = model._repr_html_()
    assert "a &lt;b&gt; &amp; 0, " in table
    assert "and 992 more" in table
    assert "<td>guessed: labels</td>" in table
    assert len(table) < 2000
    assert "Licence" not in table
    assert model.card._repr_html_().startswith("<table><tr><th>Model</th><td>tiny, version 1</td>")
    guess = Prediction(1, Label("n07920052", "espresso <"), 0.9314)
    assert repr(guess) == "<Prediction espresso < (n07920052) 93.1 %>"
    assert repr(Prediction(1, Label("red", "red"), 1.0)) == "<Prediction red 100.0 %>"
    assert guess._repr_html_() == '<meter value="0.9314"></meter> 93.1 % espresso &lt;'


def test_classify_gives_the_best_first(tiny: Model) -> None:
    red, blue = tiny.classify([plain("red"), plain("blue")], top_k=2)
    assert [guess.label.name for guess in red] == ["red", "green"]
    assert blue[0] == Prediction(2, tiny.card.labels[2], pytest.approx(0.9999092))


def test_equal_probabilities_keep_the_order_of_the_labels(tiny: Model) -> None:
    guesses = tiny.top(np.full(3, 1 / 3, np.float32), 10)
    assert [guess.index for guess in guesses] == [0, 1, 2]


def test_the_best_are_those_of_a_stable_sort(tiny: Model) -> None:
    labels = tuple(Label(str(i), str(i)) for i in range(200))
    model = Model(tiny.session, dataclasses.replace(tiny.card, labels=labels))
    rng = np.random.default_rng(0)
    for _ in range(50):
        row = rng.integers(0, 12, 200).astype(np.float32) / 16  # many are equal
        for top_k in (1, 5, 199, 200, 300):
            best = np.argsort(-row, kind="stable")[:top_k]
            assert [guess.index for guess in model.top(row, top_k)] == best.tolist()


def test_bad_image_is_an_error(tiny: Model) -> None:
    with pytest.raises(ImageError, match="not an image that can be read"):
        tiny.classify([plain("red"), b"nothing"])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_graph_of_a_fixed_batch_takes_any_number(tmp_path: Path, count: int) -> None:
    model = Model.open(tiny_classifier(tmp_path / "fixed.onnx", batch_size=2), CPU)
    assert model.batch_size == 2
    batch = np.stack([model.decode(plain(name)) for name in [*COLOURS, *COLOURS][:count]])
    assert model.probabilities(batch).argmax(axis=1).tolist() == [0, 1, 2, 0, 1][:count]


def test_warm_up_runs_once(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(Model, "run", lambda self, batch, outputs=None: shapes.append(batch.shape))
    Model.open(tiny_path, RuntimeConfig(device="cpu", warm_up=True))
    assert shapes == [(1, 16, 16, 3)]


def test_model_can_be_cut(tiny_path: Path) -> None:
    model = Model.open(tiny_path, CPU, outputs=["pool"])
    (features,) = model.run(np.full((2, 16, 16, 3), 255, np.uint8))
    np.testing.assert_array_equal(features, np.ones((2, 3)))
    with pytest.raises(ModelError, match=r"tiny: gives features \(pool\), not classes"):
        model.probabilities(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(CutError, match="gone"):
        Model.open(tiny_path, CPU, outputs=["gone"])


def test_nan_is_an_error(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "run", lambda batch, outputs: [np.array([[0.5, np.inf, 0.5]], np.float32)])
    with pytest.raises(NumericsError, match="tiny: answers with NaN or infinity"):
        tiny.probabilities(np.zeros((1, 16, 16, 3), np.uint8))


def test_card_with_other_labels_than_the_network_has_classes_is_an_error(tiny: Model) -> None:
    card = dataclasses.replace(tiny.card, labels=tiny.card.labels[:2])
    with pytest.raises(ModelError, match=r"answers with \[1, 3\] for 1 images, and its card has 2 labels"):
        Model(tiny.session, card).classify([plain("red")])


def test_one_model_serves_many_threads(tiny: Model) -> None:
    def ask(index: int) -> int:
        return tiny.classify([plain(list(COLOURS)[index % 3])], 1)[0][0].index

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(60))) == [0, 1, 2] * 20


def test_on_cuda_few_sizes_of_batches_run(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new one costs its plans there. What fills a batch up is not among the answers."""
    model = Model.open(tiny_path, CPU)
    sizes: list[int] = []
    run = model.session.run

    def noting(feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        sizes.append(len(next(iter(feeds.values()))))
        return run(feeds, outputs)

    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), np.uint8)
    expected = model.probabilities(images)
    monkeypatch.setattr(model.session, "run", noting)
    monkeypatch.setattr(model.session, "device", Device("cuda"))
    for count in (0, 1, 3, 5, 8, 33, 64, 70):
        np.testing.assert_allclose(
            model.run(images[:count], ["probabilities"])[0], expected[:count], rtol=1e-6
        )
    model.run(images, batch_size=66)
    assert sizes == [0, 1, 4, 16, 16, 64, 64, 64, 16, 66, 4]


class TestFineTuned:
    def test_answers_come_from_one_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = Model.open(tuned_classifier(tmp_path), CPU)
        batch = np.stack([model.decode(plain(colour)) for colour in ("red", (200, 200, 200))])
        runs: list[object] = []
        run = model.session.run
        monkeypatch.setattr(model.session, "run", lambda *given: runs.append(given) or run(*given))
        answers = model.answers(batch)
        assert len(runs) == 1
        assert answers.probabilities is not None
        np.testing.assert_array_equal(answers.probabilities, model.probabilities(batch))
        assert answers.reject_scores == pytest.approx([0, 2 - 2 / 3**0.5], abs=1e-5)
        assert answers.rejected is not None
        assert answers.rejected.tolist() == [False, True]

    def test_model_without_a_threshold_has_probabilities_alone(self, tiny: Model) -> None:
        answers = tiny.answers(np.zeros((2, 16, 16, 3), np.uint8))
        assert answers.probabilities is not None
        assert (answers.probabilities.shape, answers.reject_scores, answers.rejected) == ((2, 3), None, None)

    def test_threshold_in_the_card_alone_rejects_nothing(
        self, tiny: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tiny, "card", dataclasses.replace(tiny.card, reject=Reject(0.5, 1.0)))
        assert tiny.answers(np.zeros((1, 16, 16, 3), np.uint8)).rejected is None

    def test_regression_gives_values_and_no_classes(self, tmp_path: Path) -> None:
        model = Model.open(tuned_regression(tmp_path), CPU)
        assert model.values(np.stack([model.decode(plain("red"))])) == pytest.approx([100.0])
        with pytest.raises(ModelError, match="redness: gives a number, not classes"):
            model.classify([plain("red")])

    def test_values_of_a_classifier_are_refused(self, tiny: Model) -> None:
        with pytest.raises(ModelError, match="tiny: gives logits, probabilities; expected a regression"):
            tiny.values(np.zeros((1, 16, 16, 3), np.uint8))

    @pytest.mark.parametrize(
        ("values", "error", "reason"),
        [
            (np.array([np.nan], np.float32), NumericsError, "answers with NaN or infinity; expected numbers"),
            (
                np.zeros((1, 2), np.float32),
                ModelError,
                r"answers with \[1, 2\] for 1 images; expected one number",
            ),
        ],
    )
    def test_values_that_are_none(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        values: np.ndarray,
        error: type[Exception],
        reason: str,
    ) -> None:
        model = Model.open(tuned_regression(tmp_path), CPU)
        monkeypatch.setattr(model, "run", lambda batch, outputs: [values])
        with pytest.raises(error, match=reason):
            model.values(np.zeros((1, 16, 16, 3), np.uint8))

"""The whole way on a real GPU, compared with the CPU: `make test-cuda`, where CUDA and its libraries are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics.pairwise import paired_cosine_distances

from examples import device_placement
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.convolution import conv2d
from finetune.autodiff.ops.pooling import global_avg_pool
from finetune.dataset.opening import open_dataset
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.training.settings import Settings
from graft import FeatureExtractor
from graft import autodiff as ad
from models.devices import choose_device, missing_for_cuda
from models.errors import ModelError
from models.model import Model
from models.runtime import Array, RuntimeConfig
from service.planning import measured_plan
from tests.finetune.shades import folder_of

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(missing_for_cuda(0) is not None, reason=f"no CUDA: {missing_for_cuda(0)}"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "shades", 30)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.open("builtin", RuntimeConfig(DEVICE))


@pytest.fixture(scope="module")
def on_cpu() -> Model:
    return Model.open("builtin", RuntimeConfig("cpu"))


@pytest.fixture(scope="module")
def images(photos: Path, on_cpu: Model) -> Array:
    return np.stack([on_cpu.decode(path) for path in sorted(photos.rglob("*.jpg"))])


def test_auto_takes_it() -> None:
    assert str(choose_device("auto")) == "cuda:0"


def test_answers_are_those_of_the_cpu(model: Model, on_cpu: Model, images: Array) -> None:
    ours, theirs = model.probabilities(images), on_cpu.probabilities(images)
    assert np.abs(ours - theirs).max() < 1e-4


def test_few_sizes_of_batches_run(model: Model, images: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new one costs its plans; images that fill a batch up are not among the answers."""
    sizes: list[int] = []
    run = model.session.run

    def noting(feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        sizes.append(len(next(iter(feeds.values()))))
        return run(feeds, outputs)

    expected = model.run(images[:64])[0]
    monkeypatch.setattr(model.session, "run", noting)
    for count in (1, 2, 3, 5, 7, 33, 64):
        values = model.run(images[:count])[0]
        assert len(values) == count
        np.testing.assert_allclose(values, expected[:count], rtol=0, atol=1e-4 * np.abs(expected).max())
    assert sizes == [1, 4, 4, 16, 16, 64, 64]


def test_a_way_to_serve_is_measured(model: Model) -> None:
    plan, crowded = measured_plan(model, None, 0.5)
    assert (plan.runners, crowded) == (2, model)
    assert plan.largest >= 8  # of 1 to 64: one image at a time leaves a GPU idle


def test_features_are_those_of_the_cpu(photos: Path) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    ours, theirs = (FeatureExtractor("builtin", device=device).transform(paths) for device in (DEVICE, "cpu"))
    assert paired_cosine_distances(ours, theirs).max() < 1e-5


def test_what_does_not_fit_is_said(images: Array) -> None:
    small = Model.open("builtin", RuntimeConfig(DEVICE, provider_options={"gpu_mem_limit": "50000000"}))
    with pytest.raises(
        ModelError, match=r"failed while running on cuda:0 .*Try a smaller batch, or --device cpu"
    ):
        small.run(np.repeat(images[:1], 512, axis=0), batch_size=512)


def test_every_operation_runs_there() -> None:
    device_placement.main(DEVICE)


def test_training_is_that_of_the_cpu() -> None:
    """A convolution and a dense layer learn to tell two kinds of noise apart."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3, 12, 12)).astype(np.float32)
    x[32:, :, :, ::2] += 1
    labels = np.repeat(np.arange(2), 32)
    losses = {device: steps(device, x, labels) for device in (DEVICE, "cpu")}
    assert losses["cpu"][-1] < 0.5 * losses["cpu"][0]
    np.testing.assert_allclose(losses[DEVICE], losses["cpu"], rtol=0.05, atol=0.01)


def steps(device: str, x: Array, labels: Array) -> list[float]:
    with ad.Graph() as graph:
        images = ad.placeholder((None, 3, 12, 12), name="images")
        targets = ad.placeholder((None,), np.int64, name="targets")
        draw = np.random.default_rng(1)
        kernel = ad.variable(draw.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32), name="kernel")
        weight = ad.variable(draw.normal(0, 0.2, (8, 2)).astype(np.float32), name="weight")
        maps = relu(conv2d(images, kernel, padding="SAME"))
        loss = ad.losses.softmax_cross_entropy(global_avg_pool(maps) @ weight, targets)
        train = ad.optimizers.Adam(0.02).minimize(loss)
    session = ad.Session(graph, device)
    feeds = {images: x, targets: labels}
    return [float(session.run([loss, train], feeds)[0]) for _ in range(40)]


@pytest.mark.parametrize("method", ["sklearn", "head", "blocks"])
def test_a_model_is_fine_tuned_and_proven(method: Any, photos: Path, tmp_path: Path) -> None:
    """The proof runs in a process of its own, on the same device; what resumes from it has the same bytes."""
    training = Settings(epochs=10, block_epochs=2, learning_rate=0.05, block_learning_rate=0.01)
    recipe = Recipe(model="builtin", method=method, views=1, training=training)
    dataset = open_dataset(photos, recipe.task)
    outcome = finetune(dataset, recipe, tmp_path / "out", device=DEVICE)
    assert outcome.findings is not None
    assert (outcome.findings.after.argmax(1) == outcome.findings.truth).mean() > 0.9
    bytes_of_it = outcome.model.read_bytes()
    again = finetune(dataset, recipe, tmp_path / "out", device=DEVICE, resume=True)
    assert again.model.read_bytes() == bytes_of_it


def test_standard_output_is_the_answer_alone(photos: Path) -> None:
    """Neither onnxruntime nor a search for libraries writes beside it."""
    photo = next(photos.rglob("*.jpg"))
    command = [sys.executable, "-m", "graft", "classify", "--json", "--device", DEVICE, str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(done.stdout.splitlines()[0])
    assert done.stderr == ""

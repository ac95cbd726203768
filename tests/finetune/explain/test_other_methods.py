"""Saliency, occlusion and gradient ascent: against slopes, losses and activations taken by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.explain.ascent import Ascent
from finetune.explain.geometry import Floats
from finetune.explain.gradcam import GradCam
from finetune.explain.heatmap import Explainer, subject_of
from finetune.explain.occlusion import Occlusion
from finetune.explain.pixels import Pixels
from finetune.explain.saliency import Saliency
from models.card import Channels, Scale, write_card
from models.errors import CutError, InputError, ModelError
from models.import_options import ImportOptions
from models.importing import as_graft_model, import_model
from models.model import Model
from models.runtime import RuntimeConfig
from tests.fixtures import photo
from tests.models.nets import nhwc_net, residual_net

CPU = RuntimeConfig("cpu", threads=1)
LABELS = "a\nb\nc\nd\ne\n"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net_labels.txt").write_text(LABELS, encoding="utf-8")
    return residual_net(tmp_path / "net.onnx")


def logits(path: Path, pixels: NDArray[np.uint8]) -> Floats:
    model = Model.open(path, CPU, outputs=["logits"])
    (values,) = model.run(pixels)
    return np.asarray(values)


def pixels_of(path: Path) -> NDArray[np.uint8]:
    return Model.open(path, CPU).decode(photo((90, 60)))


@pytest.mark.parametrize("index", [0, 3])
def test_saliency_is_the_slope_of_the_logit(net: Path, index: int) -> None:
    heat = Saliency(net, samples=1).explain(photo((90, 60)), ["abcde"[index]])[0]
    pixels = pixels_of(net)
    assert heat.raw.shape == pixels.shape[:2]
    row, column = np.unravel_index(int(heat.raw.argmax()), heat.raw.shape)
    changed = np.repeat(pixels[None], 6, axis=0)
    for colour in range(3):  # up and down by one, a colour at a time
        changed[2 * colour, row, column, colour] += 1
        changed[2 * colour + 1, row, column, colour] -= 1
    values = logits(net, changed)[:, index]
    by_hand = np.abs(values[0::2] - values[1::2]).max() / 2
    assert heat.raw.max() == pytest.approx(float(by_hand), rel=0.05)  # a rectifier may switch in between


def test_noise_is_the_same_for_the_same_seed(net: Path) -> None:
    maps = [Saliency(net, samples=9, seed=seed).explain(photo((90, 60)), ["b"])[0].raw for seed in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_occlusion_is_what_the_logarithm_of_the_probability_loses(net: Path) -> None:
    heat = Occlusion(net, patch=0.25).explain(photo((90, 60)))[0]
    index = "abcde".index(heat.label.id)
    pixels = pixels_of(net)
    side = pixels.shape[0] // 4
    assert heat.raw.shape == (7, 7)
    model = Model.open(net, CPU, outputs=["probabilities"])
    (before,) = model.run(pixels[None])
    for row, column in ((0, 0), (2, 5), (6, 6)):
        hidden = pixels[None].copy()
        top, left = row * side // 2, column * side // 2
        hidden[0, top : top + side, left : left + side] = np.rint(pixels.mean(axis=(0, 1)))
        (after,) = model.run(hidden)
        loss = max(float(np.log(before[0, index]) - np.log(after[0, index])), 0.0)
        assert heat.raw[row, column] == pytest.approx(loss, abs=1e-5)
    assert heat.network.max() == pytest.approx(1)


def test_occlusion_needs_no_gradients(net: Path) -> None:
    assert Occlusion(net).explain(photo((90, 60)), top_k=2)[1].raw.any()


@pytest.mark.parametrize("unit", ["a", "block:5"])
def test_ascent_excites_its_unit(net: Path, unit: str) -> None:
    wanted = Ascent(net, unit).climb(steps=12)
    assert wanted.after > wanted.before
    pixels = np.asarray(wanted.image)[None]
    if unit == "a":
        measured = float(logits(net, pixels)[0, 0])
    else:
        (maps,) = Model.open(net, CPU, outputs=["block"]).run(pixels)
        measured = float(maps[0, 5].mean())
    assert measured == pytest.approx(wanted.after, rel=0.02, abs=0.02)  # of pixels that were rounded


def test_ascent_counts_channels_where_they_are(tmp_path: Path) -> None:
    """A map (N, rows, columns, channels)."""
    path = nhwc_net(tmp_path / "net.onnx")
    wanted = Ascent(path, "block:2").climb(steps=8)
    (maps,) = Model.open(path, CPU, outputs=["block"]).run(np.asarray(wanted.image)[None])
    assert float(maps[0, ..., 2].mean()) == pytest.approx(wanted.after, rel=0.02, abs=0.02)
    assert wanted.after > wanted.before


def test_ascent_from_a_photo_and_again(net: Path) -> None:
    ascent = Ascent(net, "b")
    first, second = (ascent.climb(photo((90, 60)), steps=3, seed=4).image for _ in range(2))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert np.abs(np.asarray(first, int) - pixels_of(net)).mean() < 20  # still that photo


def test_units_that_are_not_there(net: Path) -> None:
    with pytest.raises(InputError, match=r"expected a class of net \(such as a, b, c\), or CUT:CHANNEL"):
        Ascent(net, "z")
    with pytest.raises(InputError, match="block has the channels 0 to 7"):
        Ascent(net, "block:8")
    with pytest.raises(CutError, match="blok"):
        Ascent(net, "blok:1")
    with pytest.raises(InputError, match="steps is 0"):
        Ascent(net, "a").climb(steps=0)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("scale", ["imagenet", "0..255"])
def test_pixels_are_what_the_network_holds(net: Path, channels: Channels, scale: Scale) -> None:
    imported, _ = import_model(net, ImportOptions(scale=scale, channels=channels))
    subject = subject_of(imported)
    pixels = Pixels(subject, CPU)
    image = pixels_of(net)[None]
    (held,) = subject.opened([pixels.name], CPU).run(image, [pixels.name])
    np.testing.assert_allclose(pixels.tensor(image.astype(np.float32)), held, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("method", [GradCam, Saliency, Occlusion])
def test_what_is_no_classifier(net: Path, method: type[Explainer]) -> None:
    proto, _ = as_graft_model(net)
    subject = subject_of(proto)
    features = replace(subject.card, task="features", labels=())
    write_card(proto, features)
    with pytest.raises(ModelError, match="gives features, not classes"):
        method(proto)


def test_numbers_out_of_range(net: Path) -> None:
    with pytest.raises(InputError, match="samples is 0"):
        Saliency(net, samples=0)
    with pytest.raises(InputError, match="patch is 1: expected a share"):
        Occlusion(net, patch=1.0)

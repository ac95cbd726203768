from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from PIL import Image
from scipy.stats import spearmanr

from finetune.classifiers.exporting import export_top
from finetune.classifiers.fitting import fit_classifier
from finetune.explain.geometry import full_photo, on_photo, peak_on_photo, visible_box
from finetune.explain.gradcam import GradCam
from finetune.explain.heatmap import Heatmap
from finetune.explain.overlay import overlay
from finetune.heads.assembly import assemble
from models.card import Label, ModelCard
from models.errors import CutError, GraphError, ImageError, InputError, ModelError
from models.features import FeatureOptions, feature_graph
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.preprocessing import ImageSource, Preprocessing
from models.runtime import RuntimeConfig
from tests.fixtures import encoded, photo
from tests.hostile import REFUSED
from tests.models.nets import nhwc_net, residual_net, token_net

CPU = RuntimeConfig("cpu", threads=1)
PHOTOS = [
    Path(skimage.__file__).parent / "data" / name for name in ("coffee.png", "chelsea.png", "rocket.jpg")
]


def grad_cam(
    model: str | Path | ModelProto, image: ImageSource, label: str | None = None, cut: str | None = None
) -> Heatmap:
    """The map of one label, or of the most probable class."""
    return GradCam(model, cut).explain(image, [] if label is None else [label])[0]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A network whose head is linear in the mean of the map `block`, (8, 16, 16)."""
    (tmp_path / "net_labels.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    return residual_net(tmp_path / "net.onnx")


def weights(model: ModelProto, name: str) -> NDArray[np.float32]:
    return numpy_helper.to_array(next(value for value in model.graph.initializer if value.name == name))


@pytest.mark.parametrize("label", ["a", "d"])
def test_closed_form_of_a_linear_head(net: Path, label: str) -> None:
    image = photo((90, 60))
    found = grad_cam(net, image, label)
    proto, _ = as_graft_model(net)
    model = Model(Model.open(net, CPU, outputs=["block"]).session, Model.open(net, CPU).card)
    maps = model.run(model.decode(image)[None], ["block"])[0][0]  # (C, H, W)
    slopes = weights(proto, "head")[:, "abcde".index(label)] / (maps.shape[1] * maps.shape[2])
    by_hand = np.maximum((slopes[:, None, None] * maps).sum(axis=0), 0)
    assert found.cut == "block"
    assert by_hand.max() > 0
    np.testing.assert_allclose(found.raw, by_hand, rtol=1e-5, atol=1e-5 * by_hand.max())
    assert found.probability == pytest.approx(model_probability(net, image, label), abs=1e-6)


def test_channels_last_are_no_places(tmp_path: Path) -> None:
    """A map (N, rows, columns, channels): the closed form of a linear head again, over the last axis."""
    path, image = nhwc_net(tmp_path / "net.onnx"), photo((90, 60))
    found = grad_cam(path, image, "2")
    model = Model(Model.open(path, CPU, outputs=["block"]).session, Model.open(path, CPU).card)
    maps = model.run(model.decode(image)[None], ["block"])[0][0]  # (H, W, C)
    assert maps.shape == (8, 16, 8)
    by_hand = np.maximum(maps @ weights(as_graft_model(path)[0], "head")[:, 2] / 128, 0)
    assert found.cut == "block"
    assert by_hand.max() > 0
    np.testing.assert_allclose(found.raw, by_hand, rtol=1e-4, atol=1e-5 * by_hand.max())


def test_tokens_are_a_map(tmp_path: Path) -> None:
    """Of a network that reads the mean of all tokens; the class token is no place."""
    path = token_net(tmp_path / "net.onnx", reads="mean")
    found = grad_cam(path, photo((90, 60)), "1")
    assert found.cut == "last"
    assert found.raw.shape == (4, 4)
    assert found.raw.any()


def test_a_class_token_is_explained_where_it_has_seen_the_others(tmp_path: Path) -> None:
    """Behind the last attention no place matters any more: there, every map is empty."""
    path, image = token_net(tmp_path / "net.onnx"), photo((90, 60))
    cam = GradCam(path)
    assert cam.cut == "entered"
    assert cam.explain(image, top_k=5)[0].raw.shape == (4, 4)
    assert any(heat.raw.any() for heat in cam.explain(image, top_k=5))
    assert not any(heat.raw.any() for heat in GradCam(path, "block").explain(image, top_k=5))


@pytest.mark.parametrize("cut", ["pool", "t1", "flat"])
def test_what_is_no_map_of_places(tmp_path: Path, cut: str) -> None:
    path = nhwc_net(tmp_path / "net.onnx")
    if cut == "t1":  # (N, C, H, W) is one, under whatever layout its neighbours are
        with pytest.raises(CutError, match="depends on 'image' too"):
            GradCam(path, cut)
    else:
        with pytest.raises(CutError, match="not a feature map of more than one pixel"):
            GradCam(path, cut)


def model_probability(path: Path, image: Image.Image, label: str) -> float:
    (guesses,) = Model.open(path, CPU).classify([image])
    return next(guess.probability for guess in guesses if guess.label.name == label)


def test_default_is_the_most_probable_class(net: Path) -> None:
    image = photo((90, 60))
    (best,) = Model.open(net, CPU).classify([image], 1)[0]
    assert grad_cam(net, image).label == best.label


def test_random_weights_give_another_map() -> None:
    """The sanity check of Adebayo et al. 2018: a map that stays when all is forgotten shows no learning."""
    model, _ = as_graft_model(locate("builtin"))
    forgot = ModelProto()
    forgot.CopyFrom(model)
    rng = np.random.default_rng(0)
    for value in forgot.graph.initializer:
        array = numpy_helper.to_array(value)
        if array.dtype.kind == "f" and array.ndim > 1:
            noise = rng.permutation(array.astype(np.float32).ravel()).reshape(array.shape)
            value.CopyFrom(numpy_helper.from_array(noise.astype(array.dtype), value.name))
    learned, random = (GradCam(each, "mixed_4", device="cpu") for each in (model, forgot))
    alike = []
    for path in PHOTOS:
        (first,) = learned.explain(path)
        (other,) = random.explain(path, [first.label.id])
        assert first.raw.any()
        assert other.raw.any()
        alike.append(spearmanr(first.raw.ravel(), other.raw.ravel()).statistic)
    assert np.abs(alike).mean() < 0.4


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing((64, 64), resize_to=80),
        Preprocessing((64, 48), resize_to=72),
        Preprocessing((64, 64), "squash"),
        Preprocessing((64, 64), "squash", crop_fraction=0.875),
        Preprocessing((64, 64), crop_fraction=0.5),
    ],
    ids=["shorter", "not square", "squash", "central part squashed", "central part"],
)
@pytest.mark.parametrize("size", [(400, 300), (250, 370)])
def test_the_box_is_what_the_network_sees(preprocessing: Preprocessing, size: tuple[int, int]) -> None:
    """In a photo whose colours tell the place, the corners of the input show the corners of the box."""
    width, height = size
    places = np.zeros((height, width, 3))
    places[..., 0] = (np.arange(width) + 0.5) / width
    places[..., 1] = ((np.arange(height) + 0.5) / height)[:, None]
    seen = preprocessing.load(np.rint(255 * places).astype(np.uint8)).astype(np.float64) / 255
    left, top, right, bottom = visible_box(preprocessing, size)
    rows, columns = preprocessing.size
    half = (right - left) / columns / 2, (bottom - top) / rows / 2  # pixels are measured at their centre
    np.testing.assert_allclose(seen[rows // 2, 1, 0] * width, left + 3 * half[0], atol=1.7)
    np.testing.assert_allclose(seen[rows // 2, -2, 0] * width, right - 3 * half[0], atol=1.7)
    np.testing.assert_allclose(seen[1, columns // 2, 1] * height, top + 3 * half[1], atol=1.7)
    np.testing.assert_allclose(seen[-2, columns // 2, 1] * height, bottom - 3 * half[1], atol=1.7)


@pytest.mark.parametrize("size", [(400, 300), (250, 370), (96, 64)])
def test_a_padded_input_lies_on_the_photo_without_its_padding(size: tuple[int, int]) -> None:
    width, height = size
    across = np.broadcast_to((np.arange(width) + 0.5) / width, (height, width))
    preprocessing = Preprocessing((64, 96), "pad")
    grey = np.repeat(np.rint(255 * across)[..., None], 3, axis=2).astype(np.uint8)
    network = preprocessing.load(grey)[..., 0].astype(np.float32) / 255
    photo = on_photo(network, visible_box(preprocessing, size), size)
    np.testing.assert_allclose(photo, across, atol=0.05)


def test_the_peak_lies_where_the_raw_map_is_largest() -> None:
    """The curves between the places swing over: what is clipped to 1 would begin far from it."""
    with Image.open(PHOTOS[0]) as coffee:
        heat = grad_cam("builtin", coffee.rotate(-90, expand=True))
    assert (heat.network == 1).sum() > 1
    rows, columns = heat.raw.shape
    row, column = np.unravel_index(int(heat.raw.argmax()), heat.raw.shape)
    left, top, right, bottom = heat.box
    across, down = (right - left) / columns, (bottom - top) / rows
    assert heat.peak is not None
    assert abs(heat.peak[0] - (left + (column + 0.5) * across)) < across
    assert abs(heat.peak[1] - (top + (row + 0.5) * down)) < down


@pytest.mark.parametrize(
    ("warm", "peak"),
    [
        ([], None),
        ([(slice(10, 13), slice(40, 43), 0.5)], (39, 17)),  # the middle of what is equally warm
        ([(0, 0, 1.0), (63, 79, 0.5)], (99, 99)),  # what pads the photo is no part of it
    ],
)
def test_the_peak_on_a_padded_photo(
    warm: list[tuple[int | slice, int | slice, float]], peak: tuple[int, int] | None
) -> None:
    preprocessing = Preprocessing((64, 96), "pad")  # columns 16 to 80 show the photo
    network = np.zeros((64, 96), np.float32)
    for rows, columns, heat in warm:
        network[rows, columns] = heat
    assert peak_on_photo(network, visible_box(preprocessing, (100, 100)), (100, 100)) == peak


def test_the_overlay_lies_on_the_photo() -> None:
    image = full_photo(PHOTOS[0])
    found = grad_cam("builtin", PHOTOS[0])
    drawn = overlay(image, found)
    assert drawn.size == image.size
    assert found.network.shape == Model.open("builtin").card.preprocessing.size
    assert found.photo.shape == (image.height, image.width)
    assert found.photo.min() >= 0
    assert 0.9 < found.photo.max() <= 1
    left, _, right, _ = (round(edge) for edge in found.box)
    assert not found.photo[:, :left].any()
    assert not found.photo[:, right:].any()
    pixels, before = np.asarray(drawn, np.float64), np.asarray(image, np.float64)
    assert (pixels[:300, : left - 1] <= 0.8 * before[:300, : left - 1].max(axis=2, keepdims=True) + 1).all()
    hot = found.photo > 0.8
    assert pixels[hot][:, 0].mean() > 200 > pixels[hot][:, 2].mean()  # the warm end of the colours


def test_a_turned_photo_is_shown_upright(net: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    turned = encoded(photo((90, 60)), "JPEG", quality=95, exif=exif)
    assert full_photo(turned).size == (60, 90)
    assert grad_cam(net, turned).photo.shape == (90, 60)


def test_a_large_photo_keeps_its_pixels(net: Path) -> None:
    large = encoded(photo((1200, 900)), "JPEG")  # its decoder would reduce it for an input of 32 pixels
    assert grad_cam(net, large).photo.shape == (900, 1200)


def finetuned(net: Path, kind: str) -> ModelProto:
    trunk, _ = as_graft_model(net)
    model = Model.open(net, CPU)
    images = np.stack([model.decode(photo((60, 60), seed)) for seed in range(12)])
    pooled = feature_graph(trunk, ("pool",), FeatureOptions(("pool",)))
    features = Model.open(net, CPU, outputs=["pool"]).run(images, ["pool"])[0]
    fitted = fit_classifier(kind, features, np.arange(12) % 2, ("x", "y"))
    card = ModelCard(
        "mine", "classification", model.card.preprocessing, labels=(Label("x", "x"), Label("y", "y"))
    )
    return assemble(pooled, "pool", export_top(fitted), card)


@pytest.mark.parametrize("kind", ["logistic", "linear-svm", "rbf-svm", "nearest-mean"])
def test_fine_tuned_models_are_explained(net: Path, kind: str) -> None:
    found = grad_cam(finetuned(net, kind), photo((60, 60)), "y")
    assert found.cut == "block"
    assert np.isfinite(found.raw).all()


@pytest.mark.parametrize(("kind", "op"), [("forest", "TreeEnsembleRegressor"), ("knn", "ScatterElements")])
def test_a_top_without_gradients_is_named(
    net: Path, kind: str, op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.classifiers.families._TREES", 5)
    monkeypatch.setattr("finetune.classifiers.search._FEW_TREES", 3)
    with pytest.raises(
        GraphError, match=rf"mine: what follows block cannot be differentiated.*--method head.*{op}"
    ):
        grad_cam(finetuned(net, kind), photo())


def test_what_cannot_be_explained(net: Path, tmp_path: Path, tiny_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gives features, not classes.*Fine-tune it"):
        grad_cam(residual_net(tmp_path / "features.onnx", end="features"), photo())
    with pytest.raises(InputError, match="no class 'f' among its 5: it knows a, b, c, d, e"):
        grad_cam(net, photo(), "f")
    with pytest.raises(CutError, match=r"no cut point or tensor named 'bloc'.*Did you mean block"):
        grad_cam(net, photo(), cut="bloc")
    with pytest.raises(CutError, match="flat: not a feature map"):
        grad_cam(net, photo(), cut="flat")
    with pytest.raises(CutError, match="no feature map of more than one pixel"):
        grad_cam(tiny_path, photo())


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_image_is_an_error(name: str, builtin_cam: GradCam) -> None:
    data, message = REFUSED[name]
    with pytest.raises(ImageError, match=message):
        builtin_cam.explain(data(), name=name)


@pytest.fixture(scope="module")
def builtin_cam() -> GradCam:
    return GradCam("builtin", device="cpu")

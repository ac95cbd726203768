"""The frozen part of a network: views, failures, the cache, large features in a file, and int8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from feature_extraction.byte_store import ByteStore
from feature_extraction.extraction import extract_vectors
from feature_extraction.items import ImageItem
from feature_extraction.timings import Timings
from finetune.backbone import trunk as module
from finetune.backbone.trunk import Trunk, features_of, open_trunk
from finetune.backbone.views import View
from finetune.dataset.examples import Example
from models import preprocessing
from models.errors import CutError, InputError, ModelError, OutputError
from models.fingerprint import image_digest
from models.runtime import OnnxSession
from tests.feature_extraction.running import CPU, item
from tests.fixtures import encoded, photo
from tests.models.nets import nhwc_net, residual_net


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ByteStore]:
    opened = ByteStore(tmp_path / "cache.sqlite", 10_000_000)
    yield opened
    opened.close()


@pytest.fixture
def tiny_trunk(tiny_path: Path) -> Trunk:
    return open_trunk(tiny_path, config=CPU)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network of a user's own."""
    return residual_net(tmp_path_factory.mktemp("nets") / "net.onnx")


def photos(count: int) -> list[ImageItem]:
    return [item(str(i), encoded(photo((64, 48), i), "JPEG")) for i in range(count)]


def test_views_stand_beside_their_image(tiny_trunk: Trunk) -> None:
    items = photos(5)
    found, failures = features_of(tiny_trunk, [Example(one) for one in items], 3, seed=7, store=None)
    assert found.shape == (5, 3, 3)
    assert found.dtype == np.float32
    assert not failures
    load = tiny_trunk.card.preprocessing
    for image, rows in zip(items, found, strict=True):
        content = image.read()
        upright, digest = load.upright(content), image_digest(content)
        for number, row in enumerate(rows):
            pixels = load.load(View(7, number).apply(upright, digest))
            np.testing.assert_allclose(row, pixels.mean(axis=(0, 1)) / 255, atol=1e-6)


def test_view_0_is_what_extraction_gives_and_shares_its_cache(tiny_trunk: Trunk, store: ByteStore) -> None:
    items = photos(6)
    (plain,) = extract_vectors(tiny_trunk.features, items, 8, 1, store)
    timings = Timings()
    found, _ = features_of(tiny_trunk, items, 1, seed=0, store=store, timings=timings)
    assert found[:, 0].tobytes() == plain.arrays["pool"].tobytes()
    assert (timings.images["cache"], timings.images["decode"]) == (6, 0)


def test_second_run_reads_and_hashes_only(tiny_trunk: Trunk, store: ByteStore) -> None:
    first, _ = features_of(tiny_trunk, photos(5), 3, seed=0, store=store)
    timings = Timings()
    again, _ = features_of(tiny_trunk, photos(5), 3, seed=0, store=store, timings=timings)
    assert again.tobytes() == first.tobytes()
    assert (timings.images["read"], timings.images["decode"], timings.images["infer"]) == (5, 0, 0)


def test_more_views_and_other_seeds_compute_what_is_new(tiny_trunk: Trunk, store: ByteStore) -> None:
    two, _ = features_of(tiny_trunk, photos(5), 2, seed=0, store=store)
    timings = Timings()
    four, _ = features_of(tiny_trunk, photos(5), 4, seed=0, store=store, timings=timings)
    assert four[:, :2].tobytes() == two.tobytes()
    assert (timings.images["decode"], timings.images["infer"]) == (5, 10), "decoded once for two new views"
    other, _ = features_of(tiny_trunk, photos(5), 2, seed=1, store=store, timings=timings)
    assert timings.images["infer"] == 15
    assert np.array_equal(other[:, 0], two[:, 0])
    assert not np.allclose(other[:, 1], two[:, 1])


def test_mirrored_views_are_not_taken_for_others(tiny_trunk: Trunk, store: ByteStore) -> None:
    features_of(tiny_trunk, photos(3), 3, seed=0, store=store)
    timings = Timings()
    features_of(tiny_trunk, photos(3), 3, seed=0, flip=False, store=store, timings=timings)
    assert timings.images["infer"] == 6


@pytest.mark.parametrize("views", [1, 3])
def test_failed_image_is_left_out_with_all_its_views(tiny_trunk: Trunk, store: ByteStore, views: int) -> None:
    good = photos(5)
    items = [item("bad", b"no image"), *good[:3], item("worse", b""), *good[3:]]
    done: list[int] = []
    for _ in range(2):  # the second from the cache
        found, failures = features_of(
            tiny_trunk, items, views, seed=0, store=store, batch_size=4, progress=done.append
        )
        assert [name for name, _ in failures] == ["bad", "worse"]
        expected, _ = features_of(tiny_trunk, good, views, seed=0, store=None)
        assert found.tobytes() == expected.tobytes()
    assert done[-1] == 7


def test_image_of_which_one_view_is_not_finite_is_left_out(
    tiny_trunk: Trunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = photos(4)
    original = tiny_trunk.features.model.run
    whole, _ = features_of(tiny_trunk, items, 2, seed=0, store=None)
    bad = whole[2, 1]

    def spoilt(pixels: np.ndarray, outputs: object = None, **_: object) -> list[np.ndarray]:
        (rows,) = original(pixels, ("pool",))
        rows = rows.copy()
        rows[(rows == bad).all(axis=1)] = np.nan
        return [rows]

    monkeypatch.setattr(tiny_trunk.features.model, "run", spoilt)
    found, failures = features_of(tiny_trunk, items, 2, seed=0, store=None, threads=1)
    assert found.tobytes() == whole[[0, 1, 3]].tobytes()
    assert [name for name, _ in failures] == ["2"]


def test_nothing_that_can_be_read_gives_no_rows(
    tiny_trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    for out in (None, tmp_path):
        found, failures = features_of(tiny_trunk, [item("bad", b"")], 2, seed=0, store=None, out=out)
        assert found.shape == (0, 2, 3)
        assert len(failures) == 1


def test_large_features_come_as_a_map_of_a_file(
    tiny_trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [item("bad", b""), *photos(9)]
    expected, _ = features_of(tiny_trunk, items, 2, seed=0, store=None, out=tmp_path / "small")
    assert not (tmp_path / "small").exists()
    monkeypatch.setattr(module, "IN_MEMORY", 9 * 2 * 3 * 4)
    found, failures = features_of(tiny_trunk, items, 2, seed=0, store=None, out=tmp_path / "work")
    assert isinstance(found, np.memmap)
    assert (found.shape, len(failures)) == ((9, 2, 3), 1)
    other, _ = features_of(tiny_trunk, items[:6], 4, seed=1, store=None, out=tmp_path / "work")
    assert isinstance(other, np.memmap)
    assert found.tobytes() == expected.tobytes(), "two at once do not disturb each other"
    assert not found.flags.writeable
    assert not list((tmp_path / "work").iterdir()), "nothing is left behind"


def test_full_disk_is_said(tiny_trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux's")
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "r+b", 0))  # noqa: SIM115
    with pytest.raises(OutputError, match=r"no file can be written there \(No space left"):
        features_of(tiny_trunk, photos(2), 1, seed=0, store=None, out=tmp_path)


def test_file_in_place_of_the_folder_is_said(
    tiny_trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: no file can be written there \(File exists"):
        features_of(tiny_trunk, photos(2), 1, seed=0, store=None, out=tmp_path / "file")


def test_no_views_are_refused(tiny_trunk: Trunk) -> None:
    with pytest.raises(InputError, match="views is 0; expected at least 1"):
        features_of(tiny_trunk, photos(1), 0, seed=0, store=None)


def test_large_photo_is_decoded_once_and_reduced(tiny_trunk: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = preprocessing.upright_rgb

    def watched(image: Image.Image) -> Image.Image:
        made = original(image)
        sizes.append(made.size)
        return made

    monkeypatch.setattr(preprocessing, "upright_rgb", watched)
    features_of(
        tiny_trunk, [item("x", encoded(photo((1600, 1200)), "JPEG"))], 4, seed=0, store=None, threads=1
    )
    assert max(sizes) == (200, 150), "an eighth, the most that the JPEG decoder does"
    assert sizes.count((200, 150)) == 2, "the photo, and view 0 of it"


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "int8"])
def test_trunk_for_blocks_gives_maps_and_both_models(network: Path, quantized: bool) -> None:
    items = photos(4)
    trunk = open_trunk(network, "block", "none", quantize_on=items if quantized else None, config=CPU)
    assert (trunk.cut, trunk.quantized, trunk.original) == ("block", quantized, network)
    found, _ = features_of(trunk, items, 1, seed=0, store=None, batch_size=4)
    assert found.shape == (4, 1, *trunk.shape)
    assert len(trunk.shape) == 3
    model = trunk.model()
    assert [value.name for value in model.graph.output] == ["block"]
    assert ("QuantizeLinear" in {node.op_type for node in model.graph.node}) == quantized
    pixels = np.stack([trunk.card.preprocessing.load(one.read()) for one in items])
    (again,) = OnnxSession(model.SerializeToString(), CPU).run({"image": pixels})
    np.testing.assert_array_equal(again, found[:, 0])
    original = trunk.original_model()
    onnx.checker.check_model(original)
    assert "probabilities" in {value.name for value in original.graph.output}
    assert "QuantizeLinear" not in {node.op_type for node in original.graph.node}


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "int8"])
def test_bytes_depend_on_nothing_but_the_images(network: Path, store: ByteStore, quantized: bool) -> None:
    """A run that was killed goes on with what the cache has: other batches, other threads, the same bytes."""
    items = photos(7)
    model = network if quantized else Path("builtin")
    trunk = open_trunk(model, quantize_on=items if quantized else None, config=CPU)
    expected, _ = features_of(trunk, items, 2, seed=0, store=None, batch_size=14)
    for batch_size, threads in ((1, 1), (5, 2)):
        found, _ = features_of(trunk, items, 2, seed=0, store=None, batch_size=batch_size, threads=threads)
        assert found.tobytes() == expected.tobytes()
    backwards, _ = features_of(trunk, items[::-1], 2, seed=0, store=None)
    assert backwards[::-1].tobytes() == expected.tobytes()
    features_of(trunk, items[1::3], 2, seed=0, store=store)  # and there it was killed
    found, _ = features_of(trunk, items, 2, seed=0, store=store)
    assert found.tobytes() == expected.tobytes()


def test_int8_trunk_is_near_the_original_and_made_once(network: Path) -> None:
    items = photos(8)
    exact, _ = features_of(open_trunk(network, config=CPU), items, 2, seed=0, store=None)
    trunk = open_trunk(network, quantize_on=items, config=CPU)
    written = trunk.file.stat().st_mtime_ns
    rounded, _ = features_of(trunk, items, 2, seed=0, store=None)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    assert open_trunk(network, quantize_on=items, config=CPU).file.stat().st_mtime_ns == written


def test_cut_that_is_not_there_is_named(network: Path, tmp_path: Path) -> None:
    for images in (None, photos(2)):
        with pytest.raises(CutError, match=r"no cut point or tensor named 'blok'.*Did you mean block"):
            open_trunk(network, "blok", quantize_on=images, config=CPU)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        open_trunk(tmp_path / "bad.onnx", config=CPU)
    with pytest.raises(ModelError, match="no calibration image could be read"):
        open_trunk(network, quantize_on=[item("bad", b"")], config=CPU)


def test_cut_that_only_the_original_has_is_explained(network: Path) -> None:
    with pytest.raises(CutError, match=r"its int8 version has no tensor 'c1'.*trunk in float32"):
        open_trunk(network, "c1", quantize_on=photos(2), config=CPU)


def test_axes_of_positions_are_known_without_reading_the_network_again(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels_last = nhwc_net(tmp_path / "net.onnx")
    trunks = [open_trunk(path, "block", "none", config=CPU) for path in (network, channels_last)]
    monkeypatch.setattr(module, "as_graft_model", None)
    assert [trunk.places for trunk in trunks] == [(2, 3), (1, 2)]

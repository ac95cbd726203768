"""Decoding: what people really send, what an enemy sends, and geometry."""

from __future__ import annotations

import concurrent.futures
import io
import re
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image, ImageOps

from models import preprocessing
from models.errors import ImageError
from models.preprocessing import FORMATS, MAX_PIXELS, Opened, Preprocessing, header, thumbnail
from models.semaphore import WeightedSemaphore
from tests.fixtures import COLOURS, encoded, photo, plain, png_bomb
from tests.hostile import READABLE, REFUSED

SQUASH = Preprocessing((16, 16), "squash")
SHORTER = Preprocessing((16, 16), "shorter", 20)


@pytest.mark.parametrize("how", [SQUASH, SHORTER], ids=["squash", "shorter"])
@pytest.mark.parametrize("name", READABLE)
def test_readable_image_has_its_colour(name: str, how: Preprocessing) -> None:
    data, colour = READABLE[name]
    pixels = how.load(data())
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), colour, atol=4)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_image_has_its_reason(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(ImageError, match=f"^{re.escape(name)}: .*({reason})"):
        SQUASH.load(data(), name=name)


def test_bytes_file_stream_path_image_and_array_give_the_same(tmp_path: Path) -> None:
    image = photo((50, 40))
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(image))
    expected = SHORTER.load(path.read_bytes())
    with path.open("rb") as stream:
        sources = [str(path), path, stream, io.BytesIO(path.read_bytes()), image, np.asarray(image)]
        for source in sources:
            np.testing.assert_array_equal(SHORTER.load(source), expected)


@pytest.mark.parametrize("name", READABLE)
def test_upright_image_is_loaded_as_its_source_is(name: str) -> None:
    data = READABLE[name][0]()
    image = SHORTER.upright(data)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(SHORTER.load(image), SHORTER.load(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_photo_becomes_upright_at_the_size_that_load_needs(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo((1600, 1200)), "JPEG", exif=exif)
    image = SHORTER.upright(data)
    assert image.size == ((150, 200) if orientation in (5, 6, 7, 8) else (200, 150))
    np.testing.assert_array_equal(SHORTER.load(image), SHORTER.load(data))


def test_upright_refuses_what_load_refuses() -> None:
    with pytest.raises(ImageError, match="x: the image is cut off before its end"):
        SHORTER.upright(encoded(photo((300, 300)), "JPEG")[:-2000], name="x")


def test_image_that_is_passed_in_is_left_as_it_was() -> None:
    image = photo((50, 40)).convert("RGBA")
    SHORTER.load(image)
    assert (image.mode, image.size) == ("RGBA", (50, 40))


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_array_of_another_kind_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected uint8 \(height, width, 3\), RGB"):
        SQUASH.load(pixels)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        SQUASH.load(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="a folder; expected an image file"):
        SQUASH.load(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: the file is empty"):
        SQUASH.load(tmp_path / "empty.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone(orientation: int) -> None:
    """The corner at the top left is green in what a person sees, whichever way the camera was held."""
    upright = Image.new("RGB", (64, 32), "red")
    upright.paste(COLOURS["green"], (0, 0, 32, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that store it so
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = SQUASH.load(encoded(stored, "PNG", exif=exif))
    np.testing.assert_array_equal(pixels[2, 2], COLOURS["green"])
    np.testing.assert_array_equal(pixels[13, 13], COLOURS["red"])
    np.testing.assert_array_equal(pixels[2, 13], COLOURS["red"])


def test_draft_decoding_stays_close_and_can_be_switched_off() -> None:
    data = encoded(photo((1600, 1200)), "JPEG", quality=95)
    how = Preprocessing((96, 96), "shorter", 110)
    exact, fast = how.load(data, exact=True).astype(int), how.load(data).astype(int)
    reference = how.load(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    np.testing.assert_array_equal(exact, reference)
    assert np.abs(fast - exact).mean() < 1.5


def test_draft_takes_the_smallest_reduction_that_is_still_twice_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(photo((1600, 800)), "JPEG")
    sizes: list[tuple[int, int]] = []
    fit = Preprocessing._fit
    monkeypatch.setattr(
        Preprocessing, "_fit", lambda self, image: sizes.append(image.size) or fit(self, image)
    )
    for target in (40, 100, 101, 400):
        Preprocessing((target, target), "shorter").load(data)
    assert sizes == [(200, 100), (400, 200), (800, 400), (1600, 800)]


def test_all_threads_together_decode_no_more_pixels_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(WeightedSemaphore):
        held: ClassVar[list[int]] = []

        def hold(self, weight: int) -> AbstractContextManager[None]:
            self.held.append(weight)
            return super().hold(weight)

    assert preprocessing._DECODING._size == MAX_PIXELS
    monkeypatch.setattr(preprocessing, "_DECODING", Counting(MAX_PIXELS))
    large = photo((1600, 800))
    SHORTER.load(encoded(large, "PNG"))
    SHORTER.load(encoded(large, "JPEG"))  # reduced by its decoder
    SHORTER.upright(encoded(large, "JPEG"))
    thumbnail(encoded(large, "JPEG"), 50)
    assert Counting.held == [1600 * 800, 200 * 100, 200 * 100, 200 * 100]


def test_threads_wait_for_room_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, lock = 0, 0, threading.Lock()
    real = ImageOps.exif_transpose  # here the pixels are decoded

    def counted(image: Image.Image) -> Image.Image | None:
        nonlocal inside, most
        with lock:
            inside += image.width * image.height
            most = max(most, inside)
        upright = real(image)
        with lock:
            inside -= image.width * image.height
        return upright

    monkeypatch.setattr(ImageOps, "exif_transpose", counted)
    monkeypatch.setattr(preprocessing, "_DECODING", WeightedSemaphore(250_000))
    data = [encoded(photo((side, side)), "PNG") for side in (400, 300, 500)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(SQUASH.load, data * 4))) == 12
    assert most == 250_000


@pytest.mark.parametrize("size", [(64, 33), (33, 64), (17, 16), (16, 16), (3, 200), (1000, 7)])
@pytest.mark.parametrize("fraction", [1.0, 0.875, 0.01])
def test_every_shape_comes_out_at_the_size(size: tuple[int, int], fraction: float) -> None:
    for resize in ("shorter", "squash"):
        how = Preprocessing((24, 16), resize, crop_fraction=fraction)  # type: ignore[arg-type]
        assert how.load(photo(size)).shape == (24, 16, 3)


def test_crop_keeps_the_centre() -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste(COLOURS["green"], (10, 0, 30, 20))
    pixels = Preprocessing((20, 20), "shorter").load(image)
    np.testing.assert_array_equal(pixels, np.broadcast_to(COLOURS["green"], (20, 20, 3)))


@pytest.mark.parametrize(("size", "border"), [((40, 20), "above"), ((20, 40), "beside"), ((32, 16), "above")])
def test_padding_shows_the_whole_image_in_the_middle(size: tuple[int, int], border: str) -> None:
    how = Preprocessing((32, 32), "pad", pad_value=114)
    pixels = how.load(Image.new("RGB", size, "white"))
    pixels = pixels if border == "above" else pixels.transpose(1, 0, 2)
    grey, white = (114, 114, 114), (255, 255, 255)
    for rows, colour in [(slice(0, 8), grey), (slice(8, 24), white), (slice(24, 32), grey)]:
        np.testing.assert_array_equal(pixels[rows], np.broadcast_to(colour, pixels[rows].shape))


def test_padded_strip_and_large_photo_keep_their_proportions() -> None:
    strip = Preprocessing((32, 64), "pad").load(Image.new("RGB", (90_000, 3), "white"))
    assert (strip[..., 0] > 0).sum() == 64  # one row
    large = encoded(Image.new("RGB", (3000, 3000), "white"), "JPEG")
    assert (Preprocessing((32, 64), "pad").load(large)[..., 0] == 255).sum() == 32 * 32


def test_long_strip_needs_little_memory_and_shows_its_middle() -> None:
    strip = Image.new("RGB", (90_000, 3), "red")
    strip.paste(COLOURS["green"], (44_000, 0, 46_000, 3))
    pixels = Preprocessing((32, 32), "shorter").load(strip)
    np.testing.assert_array_equal(pixels, np.broadcast_to(COLOURS["green"], (32, 32, 3)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": (0, 8)}, "at least 1 pixel"),
        ({"resize": "stretch"}, "expected 'shorter', 'squash' or 'pad'"),
        ({"resize": "pad", "pad_value": 256}, "pad_value is 256; expected 0 to 255"),
        ({"resize": "pad", "crop_fraction": 0.5}, "expected neither crop_fraction nor resize_to"),
        ({"resize": "pad", "resize_to": 9}, "expected neither crop_fraction nor resize_to"),
        ({"interpolation": "magic"}, "expected one of"),
        ({"crop_fraction": 0.0}, "expected more than 0, at most 1"),
        ({"crop_fraction": float("nan")}, "expected more than 0, at most 1"),
        ({"resize_to": 7}, "expected at least 8"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Preprocessing(**{"size": (8, 8), **options})  # type: ignore[arg-type]


def test_large_photos_are_opened_in_many_threads_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from 89 million pixels on; warnings are errors here, and their filters belong to all threads."""
    monkeypatch.setattr(Preprocessing, "_array", lambda self, image, exact: image.size)
    head = png_bomb(9_600)[:60]  # 92 million pixels
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(SQUASH.load, [head] * 4_000)) == {(9_600, 9_600)}


def test_each_format_is_one_that_pillow_opens() -> None:
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


def test_image_that_was_opened_is_decoded_as_its_file() -> None:
    data = plain("red", size=(300, 200))
    square = Preprocessing(size=(64, 64))
    opened = Opened(data, name="photo")
    assert opened.header == header(data)
    assert np.array_equal(square.load(opened), square.load(data))
    with pytest.raises(ImageError, match="broken: not an image"):
        Opened(b"no image at all", name="broken")
    with pytest.raises(ImageError, match="cut off before its end"):
        square.load(Opened(data[:-30]), name="cut")

"""The decoding stage: its bounds, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import math
import threading
import time

import numpy as np
import pytest

from models.errors import DeadlineError, ImageError, InputError
from models.preprocessing import Opened, Preprocessing
from service.bodies.upload import Upload
from service.caller import Caller
from service.config import ServiceConfig
from service.decoding import Decoder, loads
from service.turns import Turns, end_turn
from tests.fixtures import plain

NO_HURRY = Caller(math.inf)
SQUARE = Preprocessing((16, 16), "squash")


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(dataclasses.replace(ServiceConfig(), max_pixels=5_000, max_pixels_per_request=9_000))


def test_each_image_is_in_its_place(decoder: Decoder) -> None:
    uploads = [Upload("a", plain("red")), Upload("b", b"no image"), Upload("c", plain("blue"))]
    decoded = decoder.decode(uploads, loads(SQUARE), NO_HURRY)
    assert decoded.names == ["a", "b", "c"]
    assert [tuple(np.unravel_index(pixels.argmax(), pixels.shape))[-1] for pixels in decoded.pixels] == [0, 2]
    assert list(decoded.failures) == [1]


def test_too_many_pixels_of_one_are_that_ones_error(decoder: Decoder) -> None:
    decoded = decoder.decode([Upload("wide", plain("red", size=(100, 60)))], loads(SQUARE), NO_HURRY)
    with pytest.raises(ImageError, match="wide: 100 x 60 pixels; this service takes images of at most"):
        raise decoded.failures[0]


def test_too_many_pixels_of_all_are_the_requests(decoder: Decoder) -> None:
    uploads = [Upload(str(number), plain("red", size=(70, 70))) for number in range(2)]
    with pytest.raises(InputError, match="megapixels together; at most"):
        decoder.decode(uploads, loads(SQUARE), NO_HURRY)


def test_an_error_holds_no_frames_which_would_hold_the_file(decoder: Decoder) -> None:
    """The error stands in a dictionary that its own frames see: a circle, and 60 MB wait for the garbage collector."""
    cut = plain("red")[:-20]
    for error in decoder.decode(
        [Upload("a", b"x" * 1000), Upload("b", cut)], loads(SQUARE), NO_HURRY
    ).failures.values():
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_the_thread_keeps_the_core_on_which_it_decoded() -> None:
    turns = Turns(1)
    decoder = Decoder(ServiceConfig(), turns)
    photo, broken = Upload("a", plain("red")), Upload("b", b"no image")
    for uploads, keeps in (([photo], True), ([photo, photo], True), ([broken], False), ([], False)):
        decoder.decode(uploads, loads(SQUARE), NO_HURRY)
        assert turns.all_taken is keeps
        end_turn()
        assert not turns.all_taken


def test_others_have_the_core_between_two_images() -> None:
    turns = Turns(1)
    order: list[str] = []

    def other() -> None:
        assert turns.take(math.inf)
        order.append("other")
        end_turn()

    thread = threading.Thread(target=other)

    def make(upload: Upload, opened: Opened) -> None:
        assert opened.header.format == "PNG"
        order.append(upload.name)
        if upload.name == "a":
            thread.start()
            while not turns._waiting:
                thread.join(0.001)

    photos = [Upload(name, plain("red")) for name in "ab"]
    Decoder(ServiceConfig(), turns).decode(photos, make, NO_HURRY)
    end_turn()
    thread.join()
    assert order == ["a", "other", "b"]


def test_who_finds_no_core_in_time_is_told_so() -> None:
    turns = Turns(1)
    other = threading.Thread(target=lambda: turns.take(math.inf))
    other.start()
    other.join()
    with pytest.raises(DeadlineError, match="not decoded in the time"):
        Decoder(ServiceConfig(), turns).decode(
            [Upload("a", plain("red"))], loads(SQUARE), Caller(time.monotonic() + 0.01)
        )

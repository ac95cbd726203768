"""The pipeline: order, bounds, failures in every stage, and ending early."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_extraction import pipeline
from feature_extraction.items import ImageItem
from feature_extraction.pipeline import READERS, Allocation, run_pipeline
from feature_extraction.timings import Timings
from feature_extraction.worker import Rows, Worker
from models.errors import ModelError, SourceError
from tests.feature_extraction.running import counted, item, shades, worker
from tests.fixtures import plain

ALLOCATIONS = [Allocation(1), Allocation(3), Allocation(2, runners=2), Allocation(5, runners=3)]


@pytest.fixture
def colours(tiny_path: Path) -> Worker:
    return worker(tiny_path)


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=str)
def test_order_is_that_of_the_source_however_many_threads_there_are(
    colours: Worker, allocation: Allocation
) -> None:
    batches = list(run_pipeline(colours, shades(101), batch_size=4, allocation=allocation))
    assert [len(batch.names) for batch in batches] == [4] * 25 + [1]
    assert [name for batch in batches for name in batch.ids] == [str(i) for i in range(101)]
    vectors = np.concatenate([batch.arrays["pool"] for batch in batches])
    assert np.allclose(vectors[:, 0] * 255, np.arange(101), atol=1e-3)


def test_failed_image_keeps_its_place(colours: Worker) -> None:
    items = shades(10)
    items[3] = item("bad", b"")
    first, second, third = run_pipeline(colours, items, batch_size=4, allocation=Allocation(2))
    assert (first.ids, first.failures[0][0]) == (["0", "1", "2"], "bad")
    assert (second.ids, third.ids) == (["4", "5", "6", "7"], ["8", "9"])


def test_no_more_batches_exist_than_have_a_permit(colours: Worker) -> None:
    asked = [0]
    endless = (one for _ in itertools.count() for one in shades(8))
    batches = run_pipeline(
        colours, counted(endless, asked), batch_size=4, allocation=Allocation(2, runners=1)
    )
    for taken in range(1, 20):
        next(batches)
        # One in the runner, one ready for it, one here, and five for 16 readers and two decoders.
        assert asked[0] <= (taken + 8) * 4
    batches.close()


def test_images_that_are_far_away_are_read_at_the_same_time_however_few_decoders_there_are(
    colours: Worker,
) -> None:
    all_on_their_way = threading.Barrier(READERS)

    def distant(i: int) -> bytes:
        all_on_their_way.wait(60)
        return plain((i, i, i), (16, 16))

    items = [ImageItem(str(i), partial(distant, i)) for i in range(READERS)]
    (batch,) = run_pipeline(colours, items, batch_size=READERS, allocation=Allocation(1))
    assert batch.failures == []
    assert batch.ids == [str(i) for i in range(READERS)]


def test_ending_early_does_not_wait_for_a_source_that_is_silent(
    colours: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    stream = itertools.chain(shades(2), (one for _ in "x" if silent.wait() for one in shades(2)))
    monkeypatch.setattr(pipeline, "_PATIENCE", 0.01)
    batches = run_pipeline(colours, stream, batch_size=1, allocation=Allocation(1))
    next(batches)
    batches.close()  # would wait for ever
    silent.set()


def test_ending_early_ends_the_threads(colours: Worker) -> None:
    before = set(threading.enumerate())
    batches = run_pipeline(
        colours,
        (one for _ in itertools.count() for one in shades(8)),
        batch_size=2,
        allocation=Allocation(3, 2),
    )
    next(batches)
    own = set(threading.enumerate()) - before
    batches.close()
    for thread in own:
        thread.join(60)  # the one that asks the source is given a second, which a busy machine may take
    assert len(own) == 1 + READERS + 3 + 2
    assert not any(thread.is_alive() for thread in own)


def test_source_that_breaks_off_is_heard_of_after_what_came_before(colours: Worker) -> None:
    def breaking() -> Iterator[ImageItem]:
        yield from shades(7)
        raise SourceError("the list ends in the middle")

    batches = run_pipeline(colours, breaking(), batch_size=3, allocation=Allocation(2))
    assert [next(batches).ids for _ in range(3)] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    with pytest.raises(SourceError, match="ends in the middle"):
        next(batches)


def test_network_that_fails_ends_the_run_at_its_place(
    colours: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = colours.infer

    def infer(pixels: np.ndarray, names: list[str]) -> list[Rows]:
        if "4" in names:
            raise ModelError("out of memory")
        return original(pixels, names)  # type: ignore[return-value]

    monkeypatch.setattr(colours, "infer", infer)
    batches = run_pipeline(colours, shades(9), batch_size=3, allocation=Allocation(2, runners=2))
    assert next(batches).ids == ["0", "1", "2"]
    with pytest.raises(ModelError, match="out of memory"):
        next(batches)


def test_defect_in_a_decoder_is_not_taken_for_a_bad_image(
    colours: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(colours, "decode", decode)
    with pytest.raises(TypeError, match="a defect"):
        list(run_pipeline(colours, shades(3), batch_size=2, allocation=Allocation(2)))


def test_every_stage_is_timed(colours: Worker) -> None:
    timings = Timings()
    items = [*shades(5), item("bad", b"")]
    list(run_pipeline(colours, items, batch_size=4, allocation=Allocation(2), timings=timings))
    assert timings.images == {
        "list": 6, "read": 6, "cache": 0, "decode": 6, "infer": 5, "write": 0,
    }  # fmt: skip
    assert (timings.threads["read"], timings.threads["decode"]) == (READERS, 2)
    assert timings.rate("decode") == pytest.approx(2 * 6 / timings.seconds["decode"])
    assert timings.rate("write") is None


class Memory:
    """A cache in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Rows] = {}

    def get(self, image: bytes) -> Rows | None:
        return self.rows.get(image)

    def put(self, rows: object) -> None:
        self.rows.update(rows)  # type: ignore[call-overload]


def test_what_the_cache_knows_is_neither_decoded_nor_run(
    colours: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Memory()
    first = list(run_pipeline(colours, shades(7), batch_size=3, allocation=Allocation(2), cache=cache))
    monkeypatch.setattr(colours, "decode", None)
    again = list(run_pipeline(colours, shades(7), batch_size=3, allocation=Allocation(2), cache=cache))
    for one, other in zip(first, again, strict=True):
        assert one.ids == other.ids
        assert np.array_equal(one.arrays["pool"], other.arrays["pool"])


class Doubled:
    """A view: twice as bright."""

    def digest(self, image: bytes) -> bytes:
        return image[::-1]

    def apply(self, image: Image.Image, digest: bytes) -> Image.Image:
        return image.point(lambda value: 2 * value)


class Plain:
    """A view: the image as it is."""

    def digest(self, image: bytes) -> bytes:
        return image

    def apply(self, image: Image.Image, digest: bytes) -> Image.Image:
        return image


@pytest.mark.parametrize("allocation", ALLOCATIONS, ids=str)
def test_views_of_an_image_stand_one_behind_the_other(colours: Worker, allocation: Allocation) -> None:
    items = shades(30)
    items[4] = item("bad", b"")
    batches = list(
        run_pipeline(colours, items, batch_size=4, allocation=allocation, views=(Doubled(), Plain()))
    )
    assert [len(batch.names) for batch in batches] == [8] * 7 + [4]
    good = [i for i in range(30) if i != 4]
    assert [name for batch in batches for name in batch.ids] == [str(i) for i in good for _ in range(2)]
    assert [name for name, _ in batches[1].failures] == ["bad", "bad"]
    vectors = np.concatenate([batch.arrays["pool"] for batch in batches])
    assert np.allclose(vectors[:, 0] * 255, [shade for i in good for shade in (2 * i, i)], atol=1e-3)


def test_only_views_that_the_cache_does_not_know_are_made(colours: Worker) -> None:
    cache, timings = Memory(), Timings()
    list(run_pipeline(colours, shades(6), batch_size=3, allocation=Allocation(2), cache=cache))
    found = list(
        run_pipeline(
            colours,
            shades(7),
            batch_size=3,
            allocation=Allocation(2),
            cache=cache,
            timings=timings,
            views=(Plain(), Doubled()),
        )
    )
    vectors = np.concatenate([batch.arrays["pool"] for batch in found])
    assert np.allclose(vectors[:, 0] * 255, [shade for i in range(7) for shade in (i, 2 * i)], atol=1e-3)
    assert timings.images == {"list": 7, "read": 7, "cache": 7, "decode": 7, "infer": 8, "write": 0}


def test_one_new_image_among_known_ones_is_run(colours: Worker) -> None:
    cache = Memory()
    list(run_pipeline(colours, shades(6), batch_size=3, allocation=Allocation(2), cache=cache))
    items = shades(6)
    items[1] = item("red", plain("red"))
    (first, _) = run_pipeline(colours, items, batch_size=3, allocation=Allocation(2), cache=cache)
    assert first.ids == ["0", "red", "2"]
    assert np.allclose(first.arrays["pool"][1], [1, 0, 0])

"""Warnings about a dataset: classes that are few, uneven or empty; large sets that grow are looked at now and then."""

from __future__ import annotations

import pytest

from service.jobs import hygiene
from service.jobs.photos import read_photo
from service.jobs.teaching import Teaching
from tests.service.jobs.conftest import snapshot


def filled(teaching: Teaching, counts: dict[str, int]) -> str:
    """A dataset with so many photos of each class."""
    dataset = teaching.datasets.create("x")
    for number, (name, count) in enumerate(counts.items()):
        class_id = teaching.datasets.class_id(dataset, name, make=True)
        for i in range(count):
            photo = read_photo(f"{i}.jpg", snapshot("red", 1000 * number + i, (48, 32)), 10**8)
            teaching.images.add(dataset, class_id, photo)
    return dataset


def warnings(teaching: Teaching, dataset: str) -> dict[str, str]:
    return {one["kind"]: one["message"] for one in teaching.inspector.hygiene(dataset).warnings}


def test_classes_that_are_missing_empty_few_or_uneven(teaching: Teaching) -> None:
    assert set(warnings(teaching, filled(teaching, {}))) == {"classes"}
    told = warnings(teaching, filled(teaching, {"a": 22, "b": 2, "c": 0}))
    assert told["empty"] == "“c”: no image yet."
    assert told["few"].startswith("Fewer than 20 images: “b” has 2.")
    assert told["unbalanced"].startswith("The largest class has 11 times the images of the smallest")
    assert {"few", "unbalanced", "empty"}.isdisjoint(warnings(teaching, filled(teaching, {"a": 20, "b": 21})))


def test_what_is_known_is_not_looked_for_again(teaching: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = filled(teaching, {"a": 3})
    looked = []
    search = hygiene.duplicate_groups
    monkeypatch.setattr(hygiene, "duplicate_groups", lambda facts: looked.append(len(facts)) or search(facts))
    first = teaching.inspector.hygiene(dataset)
    assert teaching.inspector.hygiene(dataset) is first
    teaching.images.delete_image(dataset, teaching.images.images(dataset)[0]["id"])
    assert teaching.inspector.hygiene(dataset).revision == first.revision + 1
    assert looked == [3, 2]


def test_pixels_are_read_of_images_that_are_new(teaching: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = filled(teaching, {"a": 3})
    read: list[set[str]] = []
    pixels = teaching.images.pixels

    def recorded(dataset: str, first: int) -> dict[str, bytes]:
        read.append(set(pixels(dataset, first)))
        return pixels(dataset, first)

    monkeypatch.setattr(teaching.images, "pixels", recorded)
    teaching.inspector.hygiene(dataset)
    assert read == [{row["id"] for row in teaching.images.images(dataset)}]
    teaching.images.delete_image(dataset, teaching.images.images(dataset)[1]["id"])
    teaching.inspector.hygiene(dataset)
    assert len(read) == 1
    class_id = teaching.datasets.class_id(dataset, "a")
    copy = teaching.images.add(dataset, class_id, read_photo("x.jpg", snapshot("red", 0, (48, 32)), 10**8))
    assert list(teaching.inspector.hygiene(dataset).duplicates) == [copy]
    assert read[1:] == [{copy}]


def test_who_is_in_a_hurry_hears_what_was_known(teaching: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = filled(teaching, {"a": 2})
    now = [0.0]
    search = hygiene.duplicate_groups
    monkeypatch.setattr(hygiene.time, "monotonic", lambda: now[0])

    def slow(facts: list[hygiene.Facts]) -> list[hygiene.Group]:
        now[0] += 1.0  # looking takes a second
        return search(facts)

    monkeypatch.setattr(hygiene, "duplicate_groups", slow)
    first = teaching.inspector.hygiene(dataset)
    teaching.images.delete_image(dataset, teaching.images.images(dataset)[0]["id"])
    now[0] += 8.0
    assert teaching.inspector.hygiene(dataset, patient=False) is first
    now[0] += 2.0
    assert teaching.inspector.hygiene(dataset, patient=False).revision == first.revision + 1

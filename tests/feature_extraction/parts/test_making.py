"""A part that is made: alone, again, by two that disagree, or by a process that ends in the middle of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feature_extraction import do_part, merge_parts, open_place, plan_parts
from feature_extraction.parts.making import TRIES, PartMaker, forget_tries
from feature_extraction.parts.places import Folder
from feature_extraction.sources import images
from models.errors import ImageError, OutputError, SourceError
from models.features import FeatureModel
from tests.feature_extraction.parts.shares import PART, Killed, contents, planned, whole


@pytest.mark.parametrize("name", ["photos", "shards/{00..04}.tar"])
def test_part_needs_no_listing_of_what_lies_before_it(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plan = planned(tmp_path, str(sources / name), features)
    monkeypatch.setattr("feature_extraction.parts.making.images", lambda *_: pytest.fail("listed whole"))
    assert do_part(plan, plan.parts // 2, features).images


def test_list_is_read_once_by_whoever_makes_parts_in_their_order(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, str(sources / "list.csv"), features)
    maker, read = PartMaker(plan, features, threads=1), []

    def counted(*arguments: object) -> object:
        read.append(arguments)
        return images(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("feature_extraction.parts.making.images", counted)
    parts = list(plan.planned())
    for number in (0, 1, 3, 5):
        maker.make(parts[number])
    assert len(read) == 1
    maker.make(parts[2])  # another makes the rest in between
    maker.make(parts[4])
    assert len(read) == 2
    merge_parts(plan)


def test_a_part_can_be_made_from_images_that_only_the_caller_knows(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    items = list(images(str(sources / "photos")))
    whole(tmp_path / "whole", str(sources / "photos"), features)
    place = open_place(tmp_path / "parts")
    plan = plan_parts(place, "the caller's", features, "npy", items=items, batch_size=2, part_images=PART)
    for number in reversed(range(plan.parts)):
        do_part(plan, number, features, reopen=lambda: items)
    merge_parts(plan)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_part_made_twice_is_there_once(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    first = do_part(plan, 2, features)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    again = do_part(plan, 2, features)
    assert (first.before, again.before, again.images) == (False, True, first.images)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def ended_process() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_part_that_ends_its_process_is_named_after_three_tries_and_the_others_are_made(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    (poison,) = plan.planned(1, 2)

    def end(*args: object) -> None:
        raise Killed

    for _ in range(TRIES):
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", ended_process)
            patch.setattr(PartMaker, "_vectors", end)
            patch.setattr(Folder, "remove", end)  # a process that is gone cleans nothing up
            with pytest.raises(Killed):
                PartMaker(plan, features).make(poison)
    maker = PartMaker(plan, features)
    for part in plan.planned():
        if part.part == 1:
            with pytest.raises(
                SourceError, match=r"part 1 \(4 images from .*\.png on\) has ended its process 3"
            ):
                maker.make(part)
        else:
            assert maker.make(part).images
    with pytest.raises(OutputError, match=r"1 of 6 parts are missing \(1\)"):
        merge_parts(plan)
    forget_tries(plan, range(plan.parts))
    assert maker.make(poison).images == PART
    merge_parts(plan)


def test_error_is_no_try(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    photos = [*images(str(sources / "photos"))]
    place = open_place(tmp_path)
    plan = plan_parts(place, "mine", features, "npy", items=photos, batch_size=2, part_images=PART)
    for _ in range(TRIES + 1):
        with pytest.raises(SourceError, match="mine: gives other images than when it was planned"):
            do_part(plan, 0, features, reopen=lambda: photos[1:])
    assert do_part(plan, 0, features, reopen=lambda: photos).images


def test_machine_with_another_onnxruntime_makes_no_part(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    monkeypatch.setattr("onnxruntime.__version__", "0.1")
    with pytest.raises(
        OutputError, match=r"planned with other settings than on .* \(onnxruntime was .*, now 0\.1\)"
    ):
        PartMaker(plan, features)


def test_machines_that_disagree_about_a_part_write_nothing_over_one_another(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    (tmp_path / "part-00002.pool.npy").write_bytes(b"of another machine")
    with pytest.raises(OutputError, match=r"part-00002\.pool\.npy is there with other bytes"):
        do_part(plan, 2, features)
    assert (tmp_path / "part-00002.pool.npy").read_bytes() == b"of another machine"


def test_image_error_of_a_part_stands_in_its_outcome(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features, part_images=32)
    outcome = do_part(plan, 0, features)
    assert [failure["id"] for failure in outcome.failed] == [
        str(sources / "photos" / name) for name in ("a/05.png", "b/22.png")
    ]
    assert ImageError.__name__ not in outcome.failed[0]["error"]

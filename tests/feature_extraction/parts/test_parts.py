"""Parts that many make in any order, and the folder that comes of them: the one of a single run, byte for byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from feature_extraction import do_part, extract_to, merge_parts, open_place, plan_parts
from feature_extraction.manifest import names_digest
from feature_extraction.output import OutputFolder
from feature_extraction.parts.making import TRIES, PartMaker, forget_tries
from feature_extraction.parts.places import Folder
from feature_extraction.parts.planning import Plan
from feature_extraction.sources import images
from models.errors import ImageError, InputError, OutputError, SourceError
from models.features import FeatureModel, FeatureOptions, open_features
from tests.feature_extraction.running import CPU
from tests.fixtures import plain

IMAGES = 23
PART = 4


@pytest.fixture(scope="module")
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(), CPU)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders with broken images and links, and the same images in archives and lists."""
    root = tmp_path_factory.mktemp("sources")
    photos = root / "photos"
    for i in range(IMAGES):
        file = photos / f"{'ba'[i % 2]}" / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"broken" if i in (5, 22) else plain((i, 2 * i, 3 * i), (16, 16)))
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "far.png").write_bytes(plain((9, 9, 9), (16, 16)))
    for name in ("b/one", "b/two"):  # the second one leads nowhere new
        (photos / name).symlink_to(root / "elsewhere", target_is_directory=True)
    files = sorted(photos.rglob("*.png"))
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    (root / "shards").mkdir()
    for shard in (0, 1, 3):  # the third is missing
        with tarfile.open(root / "shards" / f"{shard:02}.tar", "w") as tar:
            for file in files[7 * shard : 7 * shard + 7]:
                tar.add(file, file.relative_to(root))
            tar.add(files[0], "same.png")
            tar.add(files[1], "same.png")
    with tarfile.open(root / "photos.tgz", "w:gz") as tar:
        for file in files:
            tar.add(file, file.relative_to(root))
    rows = [f"photos/{file.relative_to(photos)},{min(i, 17)}" for i, file in enumerate(files)]
    (root / "list.csv").write_text("\n".join(["path,id", *rows]))
    return root


def whole(
    path: Path, source: str, features: FeatureModel, form: str = "npy", part_images: int = PART
) -> None:
    extract_to(path, images(source), features, form, batch_size=2, part_images=part_images)  # type: ignore[arg-type]


def planned(
    path: Path, source: str, features: FeatureModel, form: str = "npy", part_images: int = PART
) -> Plan:
    place = open_place(path)
    return plan_parts(place, source, features, form, batch_size=2, part_images=part_images)  # type: ignore[arg-type]


def make_share(plan: Plan, number: int, count: int, features: FeatureModel) -> None:
    maker = PartMaker(plan, features, threads=1)
    numbers = plan.share(number, count)
    for part in plan.planned(numbers.start, numbers.stop):
        maker.make(part)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("photos", "npy"), ("photos", "npz"), ("photos", "jsonl"), ("photos.zip", "npy"), ("photos.tgz", "npz"),
        ("shards/{00..04}.tar", "npy"), ("shards/*.tar", "npy"), ("list.csv", "npy"),
    ],
)  # fmt: skip
def test_eight_shares_in_any_order_are_the_folder_of_one_run(
    features: FeatureModel, sources: Path, tmp_path: Path, name: str, form: str
) -> None:
    source = str(sources / name)
    whole(tmp_path / "whole", source, features, form)
    shares = list(range(1, 9))
    random.Random(name).shuffle(shares)
    for share in shares:
        make_share(planned(tmp_path / "parts", source, features, form), share, 8, features)
    merged = merge_parts(planned(tmp_path / "parts", source, features, form))
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert not (tmp_path / "parts" / ".parts").exists()
    manifest = (tmp_path / "whole" / "manifest.jsonl").read_text().splitlines()
    last = json.loads(manifest[-1])
    assert (merged.images, merged.failed, merged.parts) == (last["images"], last["failed"], len(manifest) - 2)
    assert last["failed"]


@pytest.mark.parametrize("name", ["photos", "shards/{00..04}.tar"])
def test_part_needs_no_listing_of_what_lies_before_it(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plan = planned(tmp_path, str(sources / name), features)
    monkeypatch.setattr("feature_extraction.parts.making.images", lambda source: pytest.fail("listed whole"))
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


def test_many_at_once_agree_on_one_plan_and_make_each_part_once(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    source = str(sources / "photos")
    whole(tmp_path / "whole", source, features)
    start, errors = threading.Barrier(4), []

    def work() -> None:
        try:
            start.wait()
            make_share(planned(tmp_path / "parts", source, features), 1, 1, features)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    merge_parts(planned(tmp_path / "parts", source, features))
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def ended_process() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class Killed(BaseException):
    """Stands for the end of the process: nothing may be written after it."""


def test_end_at_any_moment_is_made_good_by_the_next(
    features: FeatureModel, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(sources / "photos")
    whole(tmp_path / "whole", source, features, part_images=16)
    expected = contents(tmp_path / "whole")
    steps = {name: getattr(os, name) for name in ("fsync", "replace", "link", "unlink", "rmdir")}

    def run(path: Path) -> None:
        plan = planned(path, source, features, part_images=16)
        if not (path / "manifest.jsonl").exists():
            make_share(plan, 1, 1, features)
        merge_parts(plan)

    for moment in range(1000):
        path, left = tmp_path / f"{moment}", [moment]

        def ending(*args: object, name: str, left: list[int] = left, **options: object) -> object:
            if left[0] <= 0:
                raise Killed
            left[0] -= 1
            return steps[name](*args, **options)

        with monkeypatch.context() as patch:
            for name in steps:
                patch.setattr(
                    os, name, lambda *args, name=name, **options: ending(*args, name=name, **options)
                )
            try:
                run(path)
            except Killed:
                pass
            else:
                break
        if (path / ".parts" / "plan.jsonl").exists() or not (path / "manifest.jsonl").exists():
            run(path)
        assert contents(path) == expected, f"ended before durable step {moment}"
    assert moment > 40


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


def test_share_that_there_is_not_is_refused(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    for number, count in ((0, 8), (9, 8), (-1, 8), (1, 0)):
        with pytest.raises(
            InputError, match=f"part {number} of {count}; expected a number from 1 to {count}"
        ):
            plan.share(number, count)


@pytest.mark.parametrize("count", [1, 3, 6, 8, 100])
def test_shares_are_all_parts_and_none_twice(
    features: FeatureModel, sources: Path, tmp_path: Path, count: int
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    numbers = [part for number in range(count) for part in plan.share(number + 1, count)]
    assert numbers == list(range(plan.parts))


def test_parts_of_different_plans_are_not_merged(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    one = planned(tmp_path / "one", str(sources / "photos"), features)
    other = planned(tmp_path / "other", str(sources / "photos.zip"), features)
    make_share(one, 1, 1, features)
    make_share(other, 1, 1, features)
    for file in (tmp_path / "other" / ".parts").glob("part-00003.*"):
        (tmp_path / "one" / ".parts" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(OutputError, match="part 3 was made by another plan"):
        merge_parts(one)
    assert not (tmp_path / "one" / "manifest.jsonl").exists()


def test_other_settings_and_sources_are_refused_in_a_planned_place(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    with pytest.raises(OutputError, match=r"other settings than now \(format was npy, now npz\)"):
        planned(tmp_path, str(sources / "photos"), features, "npz")
    with pytest.raises(OutputError, match=r"the plan that stands here is for .*photos, not for"):
        planned(tmp_path, str(sources / "photos.zip"), features)
    with (
        pytest.raises(OutputError, match="features are made in parts here"),
        OutputFolder(tmp_path, features.blank, plan.settings, resume=True),
    ):
        pass


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


def test_file_that_a_part_has_lost_is_missed(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    make_share(plan, 1, 1, features)
    (tmp_path / "part-00001.pool.npy").unlink()
    with pytest.raises(OutputError, match=r"part-00001\.pool\.npy is gone or changed"):
        merge_parts(plan)


def test_finished_features_are_not_planned_again(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    whole(tmp_path, str(sources / "photos"), features)
    with pytest.raises(
        OutputError, match="holds features already, which were not made in parts or are merged"
    ):
        planned(tmp_path, str(sources / "photos"), features)


def test_damaged_plan_is_refused(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    file = tmp_path / ".parts" / "plan.jsonl"
    for damage in (b"", b"[]\n", b"{", b'{"graft": "plan", "format": 9}\n{}\n'):
        file.write_bytes(damage)
        with pytest.raises(OutputError, match=r"its plan, \.parts/plan\.jsonl, is damaged"):
            Plan.open(plan.place)


def test_plan_is_of_the_source_alone_and_can_be_made_anywhere(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    one, two = (planned(tmp_path / name, str(sources / "photos"), features) for name in ("one", "two"))
    assert one.digest == two.digest
    names = [item.id for item in images(str(sources / "photos"))]
    parts = list(one.planned())
    assert [part.first for part in parts] == names[::PART]
    assert parts[1].names == names_digest(names[PART : 2 * PART])
    assert (one.items, one.parts) == (len(names), len(parts))


def test_source_that_gives_nothing_leaves_no_plan(features: FeatureModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images in it"):
        planned(tmp_path / "out", str(tmp_path / "empty"), features)
    assert Plan.open(open_place(tmp_path / "out")) is None


def test_place_that_cannot_be_written_says_why(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        planned(tmp_path / "file", str(sources / "photos"), features)


def test_image_error_of_a_part_stands_in_its_outcome(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features, part_images=32)
    outcome = do_part(plan, 0, features)
    assert [failure["id"] for failure in outcome.failed] == [
        str(sources / "photos" / name) for name in ("a/05.png", "b/22.png")
    ]
    assert ImageError.__name__ not in outcome.failed[0]["error"]

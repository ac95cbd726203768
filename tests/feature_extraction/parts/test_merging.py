"""The folder that comes of parts which many make in any order: the one of a single run, byte for byte."""

from __future__ import annotations

import json
import os
import random
import threading
from pathlib import Path

import pytest

from feature_extraction import merge_parts
from models.errors import OutputError
from models.features import FeatureModel
from tests.feature_extraction.parts.shares import Killed, contents, make_share, planned, whole


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


def test_file_that_a_part_has_lost_is_missed(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    make_share(plan, 1, 1, features)
    (tmp_path / "part-00001.pool.npy").unlink()
    with pytest.raises(OutputError, match=r"part-00001\.pool\.npy is gone or changed"):
        merge_parts(plan)

"""A folder of features: parts, resuming after an end at any moment, and what is refused."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.folder_lock import locked
from feature_extraction.items import ImageItem
from feature_extraction.output import OutputFolder
from feature_extraction.pipeline import Allocation, run_pipeline
from feature_extraction.worker import Worker
from models.errors import OutputError
from tests.feature_extraction.running import item, shades, worker

SETTINGS = {"model": "tiny", "cuts": ["pool"]}


@pytest.fixture(scope="module")
def colours(tiny_path: Path) -> Worker:
    return worker(tiny_path)


def images() -> list[ImageItem]:
    """23 images, of which two cannot be read."""
    items = shades(23)
    items[5] = item("bad, very", b"")
    items[22] = item("worse", b"x")
    return items


def write(
    path: Path,
    worker: Worker,
    items: list[ImageItem] | None = None,
    form: str = "npy",
    *,
    resume: bool = False,
    **settings: object,
) -> None:
    whole = {**SETTINGS, **settings, "format": form, "part_items": 8}
    folder = OutputFolder(path, worker.features.blank, whole, resume=resume)
    with folder:
        rest = folder.rest(items or images())
        for vectors in run_pipeline(worker, rest, batch_size=4, allocation=Allocation(1)):
            folder.write(vectors)
        folder.finish()


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_folder_tells_all_about_itself(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    assert sorted(contents(tmp_path)) == sorted(
        ["failed.jsonl", "index.csv", "manifest.jsonl"]
        + [f"part-0000{n}.{end}" for n in range(3) for end in ("pool.npy", "ids.json")]
    )
    head, *parts, last = map(json.loads, (tmp_path / "manifest.jsonl").read_text().splitlines())
    assert head["settings"]["model"] == "tiny"
    assert [(part["items"], part["images"]) for part in parts] == [(8, 7), (8, 8), (7, 6)]
    assert last == {"complete": True, "items": 23, "images": 21, "failed": 2}
    failed = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert [row["id"] for row in failed] == ["bad, very", "worse"]
    assert "the file is empty" in failed[0]["error"]
    with (tmp_path / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 21
    vectors = np.load(tmp_path / "part-00002.pool.npy")
    row = next(row for row in rows if row["id"] == "20")
    assert vectors[int(row["row"]), 0] * 255 == pytest.approx(20)


class Killed(BaseException):
    """Stands for the end of the process: nothing may be written after it."""


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_end_at_any_moment_loses_and_repeats_nothing(
    colours: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    write(tmp_path / "whole", colours, form=form)
    expected = contents(tmp_path / "whole")
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    for moment in range(1000):
        path = tmp_path / f"{moment}"
        left = [moment]

        def ending(*args: object, name: str, left: list[int] = left) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real[name](*args)

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, lambda *args, name=name: ending(*args, name=name))
            try:
                write(path, colours, form=form)
            except Killed:
                pass
            else:
                break
        write(path, colours, form=form, resume=True)
        assert contents(path) == expected, f"ended before durable step {moment}"
    assert moment > 15


def test_half_a_line_of_the_manifest_is_taken_away(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path / "whole", colours)
    expected = contents(tmp_path / "whole")
    for cut in range(0, len(expected["manifest.jsonl"]), 173):
        (tmp_path / "whole" / "manifest.jsonl").write_bytes(expected["manifest.jsonl"][:cut])
        write(tmp_path / "whole", colours, resume=True)
        assert contents(tmp_path / "whole") == expected


def test_finished_folder_is_left_alone(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    write(tmp_path, colours, resume=True)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_features_that_are_there_are_not_overwritten(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    with pytest.raises(OutputError, match=r"holds features already\. Add --resume"):
        write(tmp_path, colours)


def test_folder_without_a_finished_part_is_begun_again(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path / "whole", colours)
    (tmp_path / "out").mkdir()
    head = contents(tmp_path / "whole")["manifest.jsonl"].splitlines(keepends=True)[0]
    (tmp_path / "out" / "manifest.jsonl").write_bytes(head.replace(b"tiny", b"other"))
    write(tmp_path / "out", colours)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_files_of_a_part_that_was_not_finished_do_not_stay_beside_other_settings(
    colours: Worker, tmp_path: Path
) -> None:
    write(tmp_path / "whole", colours)
    (tmp_path / "out").mkdir()
    head = contents(tmp_path / "whole")["manifest.jsonl"].splitlines(keepends=True)[0]
    (tmp_path / "out" / "manifest.jsonl").write_bytes(head.replace(b"npy", b"npz"))
    for name in ("part-00000.npz", ".part-00001.npz.tmp", ".index.csv.tmp"):
        (tmp_path / "out" / name).write_bytes(b"left by a killed process")
    write(tmp_path / "out", colours)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "name", ["part-00000.npz", "part-123456.csv", "index.csv", "failed.jsonl", "manifest.jsonl"]
)
def test_files_of_somebody_are_not_overwritten(
    colours: Worker, tmp_path: Path, name: str, resume: bool
) -> None:
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(OutputError, match=f"holds {name}, but no manifest of features"):
        write(tmp_path, colours, resume=resume)
    assert contents(tmp_path) == {name: b"somebody's"}


def test_files_with_other_names_stay(colours: Worker, tmp_path: Path) -> None:
    mine = dict.fromkeys((".mine.tmp", "part-1.npy", "part-list.txt", "index.csv.bak"), b"mine")
    for name, data in mine.items():
        (tmp_path / name).write_bytes(data)
    write(tmp_path, colours)
    assert contents(tmp_path).items() >= mine.items()


def test_other_settings_do_not_mix(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    with pytest.raises(OutputError, match=r"model was tiny, now other; format was npy, now npz"):
        write(tmp_path, colours, form="npz", resume=True, model="other")


def test_other_kinds_of_processors_do_not_mix(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours, processor="x86_64 avx2")
    with pytest.raises(OutputError, match="processor was x86_64 avx2, now x86_64 avx512f"):
        write(tmp_path, colours, resume=True, processor="x86_64 avx512f")


def test_folder_of_a_version_that_did_not_tell_the_processor_is_resumed(
    colours: Worker, tmp_path: Path
) -> None:
    write(tmp_path, colours)
    before = contents(tmp_path)
    write(tmp_path, colours, resume=True, processor="x86_64 avx2")
    assert contents(tmp_path) == before


def test_other_images_do_not_mix(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    manifest = tmp_path / "manifest.jsonl"
    settings, first_part, *_ = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(settings + first_part)
    with pytest.raises(OutputError, match=r"other images than when part 0 of it was written \(0, \.\.\.\)"):
        write(tmp_path, colours, [*shades(2), item("new", b""), *shades(9)], resume=True)
    with pytest.raises(OutputError, match="other images"):
        write(tmp_path, colours, images()[:7], resume=True)


def test_part_that_is_gone_is_missed(colours: Worker, tmp_path: Path) -> None:
    write(tmp_path, colours)
    (tmp_path / "part-00001.pool.npy").unlink()
    with pytest.raises(OutputError, match=r"part-00001\.pool\.npy: gone or changed"):
        write(tmp_path, colours, resume=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{", "line 1: damaged"), ("[]", "not a line of a manifest"), ("{}", "not a manifest of features")],
)
def test_other_manifest_is_refused(colours: Worker, tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "manifest.jsonl").write_text(f"{line}\n{line}\n")
    with pytest.raises(OutputError, match=reason):
        write(tmp_path, colours, resume=True)


def test_full_disk_keeps_the_parts_before_and_resumes(
    colours: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "whole", colours)
    real = os.replace

    def full(old: Path, new: Path) -> None:
        if "part-00001" in str(new):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(
            OutputError, match=r"the disk is full \(.* MB free\)\. The finished parts are kept"
        ):
            write(tmp_path / "out", colours)
    assert (tmp_path / "out" / "part-00000.pool.npy").exists()
    write(tmp_path / "out", colours, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_place_that_is_no_folder_is_refused(colours: Worker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file", colours)


class TestLock:
    def test_second_run_is_refused_with_the_number_of_the_first(self, tmp_path: Path) -> None:
        with (
            locked(tmp_path),
            pytest.raises(OutputError, match=f"process {os.getpid()} on .* is writing here"),
            locked(tmp_path),
        ):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_left_locks_nobody_out(self, tmp_path: Path) -> None:
        (tmp_path / ".lock").write_text(f"process {os.getpid()} on here\n")
        with locked(tmp_path):
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()}")

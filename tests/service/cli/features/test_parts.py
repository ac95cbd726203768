"""`graft features --part K/N` and `--merge`: real processes, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import optional
from tests.fixtures import plain
from tests.service.running import Run

ROOT = Path(__file__).parents[4]
IMAGES = 21


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(IMAGES):
        (folder / f"{i:02}.png").write_bytes(plain((i, 2 * i, 0), (16, 16)))
    (folder / "09.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("x")
    return folder


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def command(tiny_path: Path, photos: Path) -> list[object]:
    return ["features", photos, "-m", tiny_path, "--batch-size", 2, "--part-images", 4, "--out"]


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_eight_shares_and_the_merge_are_the_folder_of_one_run(
    graft: Run, command: list[object], tmp_path: Path, form: str
) -> None:
    one = graft(*command, tmp_path / "one", "-f", form)
    assert one.exit_code == 1  # an image is broken
    for share in (3, 8, 1, 2, 4, 7, 6, 5):
        result = graft(*command, tmp_path / "many", "-f", form, "--part", f"{share}/8")
        assert result.exit_code == 0, result.stderr
        assert f"share {share} of 8, " in result.stdout
    assert "the same command with --merge in place of --part" in result.stdout
    merged = graft(*command, tmp_path / "many", "--merge")
    assert merged.exit_code == 1  # as after one run
    assert "20 images in 6 parts, merged\n  1 could not be read:" in merged.stdout
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_share_says_what_it_made_and_what_was_there(
    graft: Run, command: list[object], tmp_path: Path
) -> None:
    command = [*command, tmp_path / "out"]
    first = graft(*command, "--part", "1/2", "--json")
    assert json.loads(first.stdout) | {"seconds": 0} == {
        "out": str(tmp_path / "out"), "share": 1, "shares": 2, "parts": 3, "parts_before": 0, "missing": 0,
        "images": 11, "failed": 1, "seconds": 0,
    }  # fmt: skip
    assert "09.png: not an image" in first.stderr
    assert "1 other file (1 .txt) passed over" in first.stderr
    again = graft(*command, "--part", "1/1")
    assert "20 images in 3 parts and 3 that were there before; 1 could not be read" in again.stdout
    assert "09.png" not in again.stderr  # it was said by the run that met it


def test_more_shares_than_parts_have_nothing_to_do(graft: Run, command: list[object], tmp_path: Path) -> None:
    result = graft(*command, tmp_path / "out", "--part", "1/100")
    assert result.exit_code == 0
    assert "nothing to do: there are 6 parts for 100 shares" in result.stdout


def test_plan_alone_is_made_and_told(graft: Run, command: list[object], tmp_path: Path) -> None:
    result = graft(*command, tmp_path / "out", "--plan")
    assert result.stdout.endswith("21 images in 6 parts planned; make them with --part K/N\n")
    as_json = graft(*command, tmp_path / "out", "--plan", "--json")
    assert json.loads(as_json.stdout) == {"out": str(tmp_path / "out"), "parts": 6, "images": 21}
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / ".parts"]


@pytest.mark.parametrize("share", ["0/8", "9/8", "8", "a/b", "1/0", "-1/8", "1/8/2"])
def test_share_that_there_is_not_is_refused(
    graft: Run, command: list[object], tmp_path: Path, share: str
) -> None:
    result = graft(*command, tmp_path / "out", "--part", share)
    assert result.exit_code == 2
    assert f"{share!r}; expected K/N, a share from 1 to the number of shares" in result.stderr
    assert not (tmp_path / "out").exists()


def test_steps_are_not_mixed(graft: Run, command: list[object], tmp_path: Path) -> None:
    result = graft(*command, tmp_path / "out", "--part", "1/2", "--merge")
    assert result.exit_code == 2
    assert "exclude one another; give one of them" in result.stderr


def test_merge_says_what_is_missing(graft: Run, command: list[object], tmp_path: Path) -> None:
    command = [*command, tmp_path / "out"]
    nothing = graft(*command, "--merge")
    assert (nothing.exit_code, "nothing was planned here" in nothing.stderr) == (2, True)
    graft(*command, "--part", "2/3")
    result = graft(*command, "--merge")
    assert result.exit_code == 2
    assert "4 of 6 parts are missing (0, 1, 4, 5). Run each --part again" in result.stderr
    other = graft("features", tmp_path, *command[2:], "--merge")
    assert "the plan that stands here is for" in other.stderr


def test_standard_input_is_not_shared(graft: Run, command: list[object], tmp_path: Path) -> None:
    result = graft(command[0], "-", *command[2:], tmp_path / "out", "--part", "1/2")
    assert result.exit_code == 2
    assert "standard input can be read only once" in result.stderr


def test_run_of_one_process_and_parts_do_not_share_a_folder(
    graft: Run, command: list[object], tmp_path: Path
) -> None:
    command = [*command, tmp_path / "out"]
    graft(*command, "--part", "1/2")
    assert "features are made in parts here" in graft(*command, "--resume").stderr
    graft(*command, "--part", "2/2")
    graft(*command, "--merge")
    assert "0 images in" in graft(*command, "--resume").stdout  # all is done
    again = graft(*command, "--part", "1/2")
    assert (again.exit_code, "holds features already" in again.stderr) == (2, True)


@pytest.mark.parametrize("lines", [0, 1, 3, 3.5])
def test_run_that_was_ended_is_not_taken_for_one_that_is_done(
    graft: Run, command: list[object], tmp_path: Path, lines: float
) -> None:
    command = [*command, tmp_path / "out"]
    graft(*command)
    manifest = tmp_path / "out" / "manifest.jsonl"
    written = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(written[: int(lines)]) + (b'{"part": 2, "it' if lines % 1 else b""))
    again = graft(*command, "--resume", "--part", "1/2")
    assert (again.exit_code, "Go on with --resume and without --part" in again.stderr) == (2, True)


@pytest.mark.engines
@pytest.mark.smoke
def test_engine_makes_the_folder_of_one_run(command: list[object], graft: Run, tmp_path: Path) -> None:
    optional.library("distributed", extra="dask")
    graft(*command, tmp_path / "one")
    arguments = [str(argument) for argument in [*command, tmp_path / "many", "--device", "cpu", "--json"]]
    done = subprocess.run(
        [sys.executable, "-m", "graft", *arguments, "--engine", "dask"],
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr  # an image is broken
    assert json.loads(done.stdout) | {"seconds": 0} == {
        "out": str(tmp_path / "many"), "engine": "dask", "parts": 6, "parts_before": 0, "missing": 0,
        "images": 20, "failed": 1, "seconds": 0,
    }  # fmt: skip
    assert "09.png: not an image" in done.stderr
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_address_without_an_engine_is_refused(graft: Run, command: list[object], tmp_path: Path) -> None:
    result = graft(*command, tmp_path / "out", "--address", "tcp://127.0.0.1:1")
    assert (result.exit_code, "give --engine too" in result.stderr) == (2, True)

"""`graft features`: files for every format, failures, resuming after a kill, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from feature_extraction.folder_lock import locked
from feature_extraction.items import ImageItem
from tests.fixtures import plain
from tests.hostile import READABLE, REFUSED
from tests.service.running import Run

ROOT = Path(__file__).parents[4]


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_features_of_a_folder(graft: Run, tiny_path: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "notes.txt").write_text("x")
    result = graft("features", photos, "-m", tiny_path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert f"{tmp_path}/out: 3 images in" in result.stdout
    assert "tiny at pool" in result.stdout
    assert "1 other file (1 .txt) passed over" in result.stderr
    ids = json.loads((tmp_path / "out" / "part-00000.ids.json").read_bytes())
    assert [Path(name).stem for name in ids] == ["blue", "green", "red"]
    assert np.allclose(np.load(tmp_path / "out" / "part-00000.pool.npy"), np.eye(3)[::-1])


@pytest.mark.parametrize(
    ("form", "file"),
    [("npz", "part-00000.npz"), ("parquet", "part-00000.parquet"), ("jsonl", "part-00000.jsonl")],
)
def test_other_formats(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, form: str, file: str
) -> None:
    assert graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out", "-f", form).exit_code == 0
    assert (tmp_path / "out" / file).stat().st_size


def test_several_cuts_and_what_is_done_to_them(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path
) -> None:
    arguments = [
        "--cut",
        "logits,scaled",
        "-c",
        "pool",
        "--pool",
        "flatten",
        "--normalize",
        "l2",
        "--dtype",
        "float16",
    ]
    result = graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out", "-f", "npz", *arguments)
    assert result.exit_code == 0
    with np.load(tmp_path / "out" / "part-00000.npz") as archive:
        assert {name: archive[name].shape for name in archive} == {
            "ids": (3,), "logits": (3, 3), "scaled": (3, 768), "pool": (3, 3),
        }  # fmt: skip
        assert archive["scaled"].dtype == np.float16
        assert np.allclose((archive["scaled"].astype(float) ** 2).sum(1), 1, atol=1e-2)


def test_every_hostile_image_is_reported_and_the_rest_done(
    graft: Run, tiny_path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, (make, _) in (READABLE | REFUSED).items():
        (
            folder / Path(name).with_suffix(".png" if name.endswith(".eps") else Path(name).suffix).name
        ).write_bytes(make())
    (folder / "around").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere")
    result = graft("features", folder, "-m", tiny_path, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    assert (summary["images"], summary["failed"]) == (len(READABLE), len(REFUSED) + 1)
    failed = [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert {Path(row["id"]).stem for row in failed} == {Path(name).stem for name in REFUSED} | {"gone"}
    assert all(f"Error: {row['error']}" in result.stderr for row in failed)
    ids = json.loads((tmp_path / "out" / "part-00000.ids.json").read_bytes())
    expected = {name: colour for name, (_, colour) in READABLE.items()}
    vectors = np.load(tmp_path / "out" / "part-00000.pool.npy")
    for name, vector in zip(ids, vectors, strict=True):
        assert vector * 255 == pytest.approx(expected[Path(name).name], abs=6), name


def test_json_tells_where_the_time_went_and_what_the_cache_knew(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    summaries = [
        json.loads(graft("features", photos, "-m", tiny_path, "-o", tmp_path / out, "--json").stdout)
        for out in ("a", "b")
    ]
    assert [summary["from_cache"] for summary in summaries] == [0, 3]
    assert summaries[0]["stages"]["infer"]["images"] == 3
    assert summaries[1]["stages"]["infer"]["images"] == 0
    assert summaries[0]["split"]["decoders"] >= 1
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    again = graft("features", photos, "-m", tiny_path, "-o", tmp_path / "c", "--json", "--no-cache")
    assert json.loads(again.stdout)["from_cache"] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "c")


def until_closed(terminal: int) -> Iterator[bytes]:
    """What a process writes to a pseudo-terminal, until it ends."""
    with contextlib.suppress(OSError):  # Linux says in this way that nobody has the other end any more
        while block := os.read(terminal, 1 << 16):
            yield block


@pytest.mark.smoke
@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals on Windows")
def test_failure_is_not_written_into_the_progress_bar(tiny_path: Path, photos: Path, tmp_path: Path) -> None:
    for i in range(40):
        (photos / f"{i}.png").write_bytes(plain((i, i, i)) if i % 9 else b"")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "graft", "features", str(photos), "-m", str(tiny_path)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")],
        cwd=ROOT,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=environment,
    ):
        os.close(theirs)
        written = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert "/43" in written
    lines = [
        line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)) if "Error" in line
    ]
    assert len(lines) == 5
    assert all(line.startswith("Error: ") for line in lines)


# The command, which ends where it would print an error: in the test below at image 1,500, in the second of three parts.
KILLED_BY_AN_ERROR = """
import os, signal
from service.cli import main
from service.cli.features import command
command.print_error = lambda error: os.kill(os.getpid(), signal.SIGKILL)
main(prog_name="graft")
"""


@pytest.mark.smoke
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_killed_run_resumes_to_the_same_bytes(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(2500):
            archive.writestr(f"{i:05}.png", b"" if i == 1500 else plain((i % 256, i // 256, 0), (16, 16)))
    arguments = ["features", str(tmp_path / "many.zip"), "-m", str(tiny_path), "--no-cache", "--out"]
    assert graft(*arguments, tmp_path / "whole").exit_code == 1
    command = [sys.executable, "-c", KILLED_BY_AN_ERROR, *arguments, str(tmp_path / "killed")]
    killed = subprocess.run(command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / ".lock").exists()
    assert not (tmp_path / "killed" / "failed.jsonl").exists()
    result = graft(*arguments, tmp_path / "killed", "--resume")
    assert result.exit_code == 1
    assert "1,024 were done before" in result.stdout
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_finished_run_is_not_repeated(graft: Run, tiny_path: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"")
    arguments = ["features", photos, "-m", tiny_path, "-o", tmp_path / "out"]
    graft(*arguments)
    again = graft(*arguments, "--resume")
    assert again.exit_code == 1
    assert "4 were done before\n  1 could not be read" in again.stdout
    refused = graft(*arguments)
    assert refused.exit_code == 2
    assert "holds features already. Add --resume" in refused.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--cut", "logits"], "cuts was ['pool'], now ['logits']"),
        (["--pool", "max"], "pool was avg, now max"),
        (["--normalize", "l2"], "normalize was None, now l2"),
        (["--dtype", "float16"], "dtype was float32, now float16"),
        (["--format", "npz"], "format was npy, now npz"),
        (["--batch-size", "2"], "batch_size was 8, now 2"),
    ],
)
def test_other_settings_refuse_to_mix(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, changed: list[str], message: str
) -> None:
    arguments = ["features", photos, "-m", tiny_path, "-o", tmp_path / "out", "--resume", "--device", "cpu"]
    assert graft(*arguments).exit_code == 0
    result = graft(*arguments, *changed)
    assert result.exit_code == 2
    assert message in result.stderr


def test_other_model_in_the_same_file_refuses_to_mix(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path
) -> None:
    network = tmp_path / "tiny.onnx"
    network.write_bytes(tiny_path.read_bytes())
    arguments = ["features", photos, "-m", network, "-o", tmp_path / "out", "--resume"]
    assert graft(*arguments).exit_code == 0
    before = contents(tmp_path / "out")
    model = onnx.load(network)
    (white,) = (weight for weight in model.graph.initializer if weight.name == "white")
    white.CopyFrom(onnx.numpy_helper.from_array(np.array(254, np.float32), "white"))
    onnx.save(model, network)
    result = graft(*arguments)
    assert result.exit_code == 2
    assert "begun with other settings (graphs was [" in result.stderr
    assert contents(tmp_path / "out") == before


def test_other_preprocessing_refuses_to_mix(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["features", photos, "-m", tiny_path, "-o", tmp_path / "out", "--resume"]
    graft(*arguments)
    monkeypatch.setattr("models.fingerprint.pillow_version", "0.1")
    result = graft(*arguments)
    assert result.exit_code == 2
    assert "preprocessing was" in result.stderr


def test_two_runs_into_one_folder_are_refused(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        result = graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"process {os.getpid()} on" in result.stderr


def test_disk_that_fills_up_in_the_middle_is_code_1(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    result = graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file or folder"),
        (["photos", "--cut", "pol"], "Did you mean pool"),
        (["photos", "--format", "csv"], "'csv' is not one of"),
        (["photos", "--model", "builtn"], "Did you mean builtin"),
    ],
)
def test_wrong_usage_is_code_2(
    graft: Run,
    photos: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = graft("features", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("inside", ["", "features", "deep/er"])
def test_nothing_is_written_among_photos(graft: Run, tiny_path: Path, photos: Path, inside: str) -> None:
    before = sorted(photos.rglob("*"))
    result = graft("features", photos, "-m", tiny_path, "--out", photos / inside, "--device", "cpu")
    assert result.exit_code == 2
    assert f"lies in {photos}, whose photos are read" in result.stderr
    assert sorted(photos.rglob("*")) == before


def test_nothing_is_written_among_other_photos(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    shutil.copy(next(photos.rglob("*.*")), tmp_path / "others" / "a.png")
    result = graft("features", photos, "-m", tiny_path, "--out", tmp_path / "others", "--device", "cpu")
    assert result.exit_code == 2
    assert "holds photos, such as a.png" in result.stderr


def test_ctrl_c_says_how_to_go_on(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.features.command.extract_to", stop)
    result = graft("features", photos, "-m", tiny_path, "--out", tmp_path / "vectors", "--device", "cpu")
    assert result.exit_code == 130
    assert "Go on with the same command and: --resume" in result.stderr


def test_calibration_fetches_what_the_run_may_fetch(
    graft: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.txt").write_text("https://host.example/red.png\n")
    monkeypatch.setattr("feature_extraction.web_images.WebImages.read", lambda self, url: plain("red"))
    sample = []

    def calibrated(model: str, items: Iterable[ImageItem]) -> str:
        sample.extend(item.read() for item in items)
        return model

    monkeypatch.setattr("service.cli.features.command.quantized", calibrated)
    command = [
        "features",
        tmp_path / "list.txt",
        "-m",
        tiny_path,
        "--allow-urls",
        "host.example",
        "--quantize",
    ]
    assert graft(*command, "--out", tmp_path / "out").exit_code == 0
    assert sample == [plain("red")]

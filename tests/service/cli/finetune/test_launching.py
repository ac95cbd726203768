"""`graft finetune --workers 2`: the file of one process, one message where something is wrong, and deaths survived."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.errors import GraftError, LibraryError
from models.model import Model
from models.runtime import RuntimeConfig
from service.cli.finetune import launching
from tests import optional
from tests.finetune.shades import SHADES, folder_of, shade

ROOT = Path(__file__).parents[4]
QUICK = [
    "--views",
    "2",
    "--epochs",
    "4",
    "--learning-rate",
    "0.1",
    "--optimizer",
    "momentum",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "shades")


@pytest.fixture
def _mpi() -> None:
    optional.library("mpi4py", extra="mpi")


def graft(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graft", "finetune", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )


def weights(folder: Path) -> dict[str, np.ndarray]:
    model = onnx.load(folder / "model.onnx")
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


@pytest.fixture(scope="module")
def two(photos: Path, tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers have made."""
    optional.library("mpi4py", extra="mpi")
    folder = tmp_path_factory.mktemp("two") / "out"
    done = graft(photos, "--model", tiny_path, "--out", folder, "--workers", 2, *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("looking at the images") == 1  # the first alone speaks
    return folder


@pytest.mark.workers
def test_two_workers_make_the_file_of_one(two: Path, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    one = graft(photos, "--model", tiny_path, "--out", tmp_path / "out", *QUICK)
    assert one.returncode == 0, one.stderr
    images = [shade(colour, seed) for seed, colour in enumerate(SHADES.values())]
    alone, together = (
        Model.open(folder / "model.onnx", RuntimeConfig("cpu", 1)).classify(images)
        for folder in (tmp_path / "out", two)
    )
    for one_of, other in zip(alone, together, strict=True):
        assert [p.label for p in one_of] == [p.label for p in other]
        assert [p.probability for p in one_of] == pytest.approx([p.probability for p in other], abs=1e-3)


@pytest.mark.workers
@pytest.mark.usefixtures("_mpi")
def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = graft(tmp_path / "empty", "--out", tmp_path / "out", "--workers", 2)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("Error") == 1
    assert "BAD TERMINATION" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


# A worker that kills itself in its fifth step; where FILE is there, it has done so before.
_DYING = """
import os, pathlib, signal, sys
from finetune.workers import mpi, training
real, steps, file = training._Step.do, [], pathlib.Path({file!r})
def do(self, worker):
    steps.append(self)
    if len(steps) == 5 and not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, worker)
training._Step.do = do
"""


@pytest.mark.workers
def test_when_a_worker_dies_all_go_on_from_the_checkpoint(
    two: Path,
    photos: Path,
    tiny_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, second = launching._PROGRAM.split("; from", 1)
    armed = f"{first}; exec({_DYING.format(file=str(tmp_path / 'died'))!r}); from{second}"
    monkeypatch.setattr(launching, "_PROGRAM", armed)
    arguments = ["finetune", str(photos), "--model", str(tiny_path), *QUICK]
    assert launching.launch(2, arguments, tmp_path / "out") == 0
    assert (tmp_path / "died").exists()
    assert capfd.readouterr().err.count("A worker has died") == 1
    expected = weights(two)
    for name, value in weights(tmp_path / "out").items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.workers
@pytest.mark.usefixtures("_mpi")
def test_workers_that_die_each_time_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(GraftError, match=r"workers died 4 times, .*with fewer --workers"):
        launching.launch(2, [], tmp_path / "out")


# Leaves the addresses, as the kernel writes them, on which what connects the workers listens in this one.
_LISTENING = """
import os, pathlib, sys
import numpy as np
def sockets():
    files = [f"/proc/self/fd/{{number}}" for number in os.listdir("/proc/self/fd")]
    return {{os.readlink(file) for file in files if os.path.islink(file)}}
before = sockets()
from finetune.workers.mpi import MpiGroup
group = MpiGroup()
group.all_reduce(np.zeros(1, np.float32))
own = sockets() - before
rows = [line.split() for line in open("/proc/self/net/tcp").readlines()[1:]]
rows = [row[1] for row in rows if row[3] == "0A" and f"socket:[{{row[9]}}]" in own]
pathlib.Path({folder!r}, f"{{group.rank}}").write_text(" ".join(rows))
"""


@pytest.mark.workers
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="only Linux tells who listens where")
@pytest.mark.usefixtures("_mpi")
def test_workers_listen_to_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"import sys; sys.path.insert(0, sys.argv[1])\n{_LISTENING.format(folder=str(tmp_path))}"
    monkeypatch.setattr(launching, "_PROGRAM", program)
    monkeypatch.setattr(launching, "RESTARTS", 0)
    with pytest.raises(GraftError, match="workers died 1 times"):  # it leaves no status
        launching.launch(2, [], tmp_path / "out")
    for rank in ("0", "1"):
        for address in (tmp_path / rank).read_text().split():
            assert address.startswith("0100007F:"), address


@pytest.mark.parametrize(
    ("sent", "passed"),
    [("SIGINT", signal.SIGINT), ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGTERM)],
)
def test_what_ends_the_command_ends_the_workers(sent: str, passed: signal.Signals) -> None:
    """The last where a terminal is closed: the workers are in a session of their own, which hears nothing of it."""
    number = getattr(signal, sent)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with subprocess.Popen(["sleep", "60"]) as process:
            try:
                with launching._passed_on(process) as asked:
                    os.kill(os.getpid(), number)
                    process.wait(30)
            finally:
                process.kill()
    finally:
        signal.signal(number, before)
    assert asked == [number]
    assert process.returncode == -passed


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with subprocess.Popen(["true"]) as process, launching._passed_on(process) as asked:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert asked == []


@pytest.mark.parametrize("missing", ["mpi4py", "mpiexec"])
def test_without_mpi_it_says_how_to_get_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "mpi4py":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/mpiexec")
    else:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LibraryError, match=r"--workers needs mpi4py and mpiexec.*pip install '\.\[mpi\]'"):
        launching.launch(2, [], tmp_path)

"""Two processes that mpiexec starts, without PyTorch: equal steps, and one end for both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from finetune.workers import mpi
from models.errors import InputError
from tests import optional

ROOT = Path(__file__).parents[3]
# An import of PyTorch fails in it.
_PROGRAM = "import sys; sys.modules['torch'] = None; from tests.finetune.workers.program import main; main()"


def start(scenario: str, folder: Path) -> subprocess.CompletedProcess[str]:
    optional.library("mpi4py", extra="mpi")
    mpiexec = Path(sys.executable).with_name("mpiexec")
    starter = str(mpiexec) if mpiexec.is_file() else optional.program("mpiexec", "mpich")
    return subprocess.run(
        [starter, "-n", "2", sys.executable, "-c", _PROGRAM, scenario, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_IFACE": "lo"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.workers
def test_two_processes_come_to_the_steps_of_one(tmp_path: Path) -> None:
    done = start("steps", tmp_path)
    assert done.returncode == 0, done.stderr
    name, figure = done.stdout.split()
    assert name == "difference"
    assert float(figure) < 1e-5


@pytest.mark.workers
def test_nan_in_one_ends_both_with_one_error(tmp_path: Path) -> None:
    done = start("nan", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"error-{rank}").read_text() for rank in range(2))
    assert first == second
    assert first.startswith("NumericsError: ")
    assert "is NaN or infinite at step 0; no variable was changed" in first


@pytest.mark.workers
def test_ctrl_c_in_one_ends_both_with_what_was_learned(tmp_path: Path) -> None:
    done = start("interrupt", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted", "True", "epochs", "2"]  # of three steps each
    assert (tmp_path / "end-1").exists()
    again = start("train", tmp_path)  # goes on
    assert again.stdout.split() == ["interrupted", "False", "epochs", "5"]


@pytest.mark.workers
def test_one_that_dies_takes_the_other_along_and_both_go_on_from_the_checkpoint(tmp_path: Path) -> None:
    died = start("die", tmp_path / "died")
    assert died.returncode != 0
    assert not (tmp_path / "died" / "end-0").exists()
    again = start("train", tmp_path / "died")
    assert again.stdout.split() == ["interrupted", "False", "epochs", "5"]
    start("train", tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "training.safetensors") for name in ("died", "whole"))
    assert first.keys() == second.keys() != set()
    for name, value in second.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)


def test_outside_of_an_mpi_program_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*mpi._SIZES, *mpi._RANKS):
        monkeypatch.delenv(name, raising=False)
    assert (mpi.processes(), mpi.rank(), mpi.program(None), mpi.program(4)) == (1, 0, None, None)


def test_another_number_of_workers_than_mpiexec_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(
        InputError, match=r"--workers is 3, in an MPI program of 2 processes; expected the same"
    ):
        mpi.program(3)


@pytest.mark.workers
def test_processes_that_do_not_see_each_other_are_refused() -> None:
    """As under the mpiexec of another MPI: each would do all of the work, into one folder."""
    optional.library("mpi4py", extra="mpi")
    done = subprocess.run(
        [sys.executable, "-c", "from finetune.workers.mpi import program; program()"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PMI_SIZE": "2", "PMI_RANK": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "LibraryError: 2 processes were started, and the MPI of mpi4py sees 1: " in done.stderr

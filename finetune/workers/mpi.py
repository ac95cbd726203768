"""Processes that `mpiexec` started, or what stands for it on a cluster, through mpi4py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, LibraryError
from models.extras import how_to_install

# Set for each process by the launchers of MPICH and Intel MPI, and of Open MPI.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")
_ABORTED = 70  # exit status; EX_SOFTWARE of sysexits.h
_BUSY = 2e-3  # seconds in which a process that waits asks again at once
_PAUSE = 2e-4  # and then between two questions: MPI's own waiting takes all of a core


class MpiGroup:
    """All processes of an MPI program."""

    def __init__(self) -> None:
        """Join them.

        Raises:
            LibraryError: mpi4py, or the MPI that it is for, is not there.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as exc:  # the latter where it finds no library of MPI
            raise LibraryError(
                f"several processes need mpi4py and an MPI ({exc}). Both come with {how_to_install('mpi')}."
            ) from exc
        self._mpi, self._world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self._world.rank, self._world.size

    def send(self, value: Any, receiver: int) -> None:
        """See `Group`."""
        _wait(self._world.isend(value, receiver).Test)

    def receive(self, sender: int) -> Any:
        """See `Group`."""
        message = None

        def arrived() -> bool:
            nonlocal message
            message = self._world.improbe(sender)
            return message is not None

        _wait(arrived)
        assert message is not None
        return message.recv()

    def all_reduce(self, array: NDArray[np.float32]) -> None:
        """See `Group`."""
        _wait(self._world.Ibarrier().Test)  # the slowest is waited for gently; the sum itself is quick
        self._world.Allreduce(self._mpi.IN_PLACE, array)

    def abort(self) -> None:
        """See `Group`."""
        self._world.Abort(_ABORTED)


def processes() -> int:
    """How many processes the MPI program has that this process is one of, by its environment; 1 outside of one."""
    return _first(_SIZES, 1)


def rank() -> int:
    """The number of this process among them, from 0."""
    return _first(_RANKS, 0)


def program(workers: int | None = None) -> MpiGroup | None:
    """The processes of the MPI program that this one is part of, None outside of one; `workers`: how many are wanted.

    Raises:
        InputError: another number than there are.
        LibraryError: what connects them is not installed, or sees others than were started.
    """
    count = processes()
    if count == 1:
        return None
    if workers not in (None, count):
        raise InputError(
            f"--workers is {workers}, in an MPI program of {count} processes; expected the same, or no --workers there."
        )
    group = MpiGroup()
    if group.size != count:  # each of them would take itself for all there are, and do everything
        raise LibraryError(
            f"{count} processes were started, and the MPI of mpi4py sees {group.size}: what started them is of another "
            "MPI, or speaks to it in another way (srun: --mpi). Start them with the mpiexec of the one that mpi4py is "
            f"for. Both come with {how_to_install('mpi')}."
        )
    return group


def _first(names: tuple[str, ...], otherwise: int) -> int:
    texts = (os.environ.get(name, "") for name in names)
    return next((int(text) for text in texts if text.isdigit()), otherwise)


def _wait(done: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > _BUSY:
            time.sleep(_PAUSE)

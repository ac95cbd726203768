"""`graft finetune --workers N`: starts the same command in several processes, and again where one of them has died."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from models.errors import GraftError, LibraryError
from models.extras import how_to_install
from service.cli.terminal.messages import print_note

RESTARTS = 3
INTERRUPTED = 130
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# The folder of the packages, and the file for the status; `-P` keeps what lies in the current folder out.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from service.cli.finetune.launching import main; main()"
)
_ROOT = Path(__file__).parents[3]
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
# Where MPICH's launcher and the libraries under it (UCX, libfabric) listen: else on all networks of the machine.
_ON_THIS_MACHINE = {"HYDRA_IFACE": _LOOPBACK, "UCX_NET_DEVICES": _LOOPBACK, "FI_TCP_IFACE": _LOOPBACK}


def launch(count: int, arguments: Sequence[str], folder: Path) -> int:
    """Run `graft ARGUMENTS` in `count` processes that help each other, and give the status with which it ends.

    Where one of them dies, all begin again and go on with what the run has in its `folder`.

    Raises:
        LibraryError: nothing is there that starts such processes.
        GraftError: they died again and again.
    """
    starter = [_mpiexec(), "-n", str(count), sys.executable, "-P", "-c", _PROGRAM, str(_ROOT)]
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "status"
        resumed: list[str] = []
        for attempt in range(RESTARTS + 1):
            died, interrupted = _run([*starter, str(file), *arguments, "--out", str(folder), *resumed])
            if file.is_file():
                return int(file.read_text())
            if interrupted:
                return INTERRUPTED
            if attempt < RESTARTS:
                print_note(
                    f"A worker has died (status {died}): all begin again and go on with what is in {folder}, try "
                    f"{attempt + 1} of {RESTARTS}."
                )
            # What was done before the folder was made is done again.
            resumed = ["--resume"] if folder.exists() else []
    raise GraftError(
        f"workers died {RESTARTS + 1} times, the last time with status {died}. Look for what ended them, such as too "
        f"little memory; with fewer --workers each has more of it, and --resume goes on with {folder}."
    )


def main() -> None:
    """One of the processes: the first leaves the status in a file, for `mpiexec` makes something else of it."""
    from finetune.workers.mpi import rank
    from service.cli import main as graft

    file, sys.argv[:] = Path(sys.argv[2]), ["graft", *sys.argv[3:]]
    try:
        graft(prog_name="graft")
    except SystemExit as exc:
        if rank() == 0:
            file.write_text(str(exc.code if isinstance(exc.code, int) else int(exc.code is not None)))


def _mpiexec() -> str:
    beside = Path(sys.executable).with_name("mpiexec")
    path = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if path is None or importlib.util.find_spec("mpi4py") is None:
        raise LibraryError(
            f"--workers needs mpi4py and mpiexec, which starts processes. Both come with {how_to_install('mpi')}."
        )
    return path


def _run(command: Sequence[str]) -> tuple[int, bool]:
    """The status of a command, and whether Ctrl-C was pressed, of which it hears once."""
    environment = _ON_THIS_MACHINE | os.environ
    # In a session of its own: otherwise the terminal would tell `mpiexec` of Ctrl-C too.
    with (
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        ) as process,
        _passed_on(process) as asked,
    ):
        status = process.wait()
    return status, bool(asked)


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass on what asks to end; the numbers of such signals that came."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        # A terminal that is closed tells this process alone.
        process.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    before = {
        number: signal.signal(number, pass_on)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup wants it
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

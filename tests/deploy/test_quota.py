"""A quota of the processor, as containers have it, is what a replica plans with."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.deploy.running import Process, ready
from tests.fixtures import reserved_port

pytestmark = [pytest.mark.deploy, pytest.mark.smoke]
_GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of its own for the processor, of version 2 or 1."""
    name = f"graft-test-{os.getpid()}"
    top = _GROUPS if (_GROUPS / "cgroup.controllers").is_file() else _GROUPS / "cpu"
    folder = top / name
    try:
        folder.mkdir()
    except OSError as exc:
        pytest.skip(f"no control group can be made here ({exc.strerror}); it takes root and a writable {top}")
    try:
        yield folder
    finally:
        folder.rmdir()


def limit(group: Path, cores: float) -> None:
    """Give all processes of a group so much of the processor together."""
    quota = int(cores * PERIOD_US)
    try:
        if (group / "cpu.cfs_quota_us").is_file():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
    except OSError as exc:
        pytest.skip(f"the control group takes no quota ({exc.strerror})")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core there is nothing to limit")
@pytest.mark.parametrize(("cores", "threads"), [(None, None), (1.0, 1), (0.5, 1)])
def test_replica_takes_as_many_threads_as_its_quota(
    cores: float | None, threads: int | None, group: Path, tmp_path: Path
) -> None:
    if cores is not None:
        limit(group, cores)
    code = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.executable, sys.argv[2:])"
    command = [sys.executable, "-m", "graft", "serve", "builtin", "--device", "cpu", "--measure-s", "0"]
    with contextlib.ExitStack() as ends:
        port = ends.enter_context(reserved_port())
        service = Process(
            tmp_path / "log", sys.executable, "-c", code, group / "cgroup.procs", *command, "--drain-s", "0",
            PORT=str(port), PYTHONPATH=str(ROOT),
        )  # fmt: skip
        ends.callback(service.end)
        ready(port)
        (line,) = [line for line in service.lines if "threads each" in line or "thread each" in line]
        planned = re.search(r"(\d+) threads? each", line)
        assert planned is not None
        assert int(planned[1]) == (threads or len(os.sched_getaffinity(0)))

"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_V2 = "cpu.max"
_V1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
# How an engine tells a process its share: Ray, Spark and Dask by the first, Slurm by the other.
SHARES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")


def cores(proc: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores of the process: those it is bound to, fewer where a container or an engine gives it less.

    A container does by a quota (cgroups v1, v2), of which one and a half cores count as two: with one thread half of a
    core would be left idle. An engine does by the variables `SHARES`.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(proc, mounts)
    return max(1, min([count, *([] if quota is None else [math.ceil(quota)]), *_shares()]))


def _shares() -> list[int]:
    """What the variables say; OpenMP allows a number for each level of nesting, of which the first is the process's."""
    texts = [os.environ.get(name, "").partition(",")[0].strip() for name in SHARES]
    return [int(text) for text in texts if text.isdecimal() and int(text)]


def cgroup_quota(proc: Path, mounts: Path) -> float | None:
    """The smallest quota, in cores, of the control groups that the process is in; None where there is none."""
    quotas: list[float] = []
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            root, read = mounts, _v2_quota
        elif "cpu" in controllers.split(","):
            root, read = _v1_root(mounts, controllers), _v1_quota
        else:
            continue
        folder = root / group.lstrip("/")
        # A quota of a group above holds as well. In a container the path may be the host's: only the root is there.
        for place in (folder, *folder.parents):
            if place == root.parent:
                break
            quota = read(place)
            if quota is not None:
                quotas.append(quota)
    return min(quotas, default=None)


def _v1_root(mounts: Path, controllers: str) -> Path:
    return next((mounts / name for name in (controllers, "cpu") if (mounts / name).is_dir()), mounts / "cpu")


def _v2_quota(folder: Path) -> float | None:
    """From `cpu.max`: "150000 100000" are one and a half cores, "max 100000" all."""
    try:
        quota, period = (folder / _V2).read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _v1_quota(folder: Path) -> float | None:
    """From `cpu.cfs_quota_us`, -1 for all, and `cpu.cfs_period_us`."""
    try:
        quota, period = (int((folder / name).read_text()) for name in _V1)
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None

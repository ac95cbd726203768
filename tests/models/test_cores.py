"""Cores that a container may use, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import cores as module
from models.cores import cgroup_quota, cores


def laid(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/pod/box\n", {"pod/box/cpu.max": "50000 100000\n", "pod/cpu.max": "200000 100000\n"}, 0.5),
        # In a container the path may be the host's, of which only the root is mounted.
        ("0::/kubepods/x\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "4:cpu,cpuacct:/box\n1:name=systemd:/\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.max": "1000 0\n"}, None),
        ("", {}, None),
    ],
)
def test_quota(tmp_path: Path, cgroup: str, files: dict[str, str], quota: float | None) -> None:
    mounts = laid(tmp_path / "fs" / "cgroup", files)
    proc = tmp_path / "proc"
    proc.write_text(cgroup)
    assert cgroup_quota(proc, mounts) == quota


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.5, 1), (1.5, 2), (6.0, 6), (64.0, 8)])
def test_quota_bounds_the_cores(monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "cgroup_quota", lambda *_: quota)
    assert cores() == count


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),  # by Ray, Spark and Dask
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"OMP_NUM_THREADS": "5", "SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"OMP_NUM_THREADS": "64"}, 6),
        ({"OMP_NUM_THREADS": "0"}, 6),
        ({"OMP_NUM_THREADS": "many", "SLURM_CPUS_PER_TASK": ""}, 6),
    ],
)
def test_an_engine_s_share_bounds_the_cores(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], count: int
) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "cgroup_quota", lambda *_: 6.0)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert cores() == count


def test_no_such_files_mean_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "gone", tmp_path) is None
    assert cores() >= 1

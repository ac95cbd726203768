"""What engines cost over one process: processor time of all that runs, counted by a control group. Needs root on Linux.

python -m benchmarks.engines [--engines ray spark dask]
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import table

GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def group() -> Iterator[Path]:
    """A control group of its own, of version 1 or 2."""
    first = GROUPS / "cpuacct"
    folder = (first if first.is_dir() else GROUPS) / f"graft-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        folder.rmdir()


def busy(folder: Path) -> float:
    """Seconds of processor time that the group has taken."""
    first = folder / "cpuacct.usage"
    if first.exists():
        return int(first.read_text()) / 1e9
    return int((folder / "cpu.stat").read_text().split()[1]) / 1e6


def photos(folder: Path, count: int) -> None:
    """JPEGs of 300 x 400 pixels."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        small = random.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(small).resize((400, 300)).save(folder / f"{i:05}.jpg", quality=90)


def run(command: list[str], home: Path) -> tuple[float, float]:
    """Seconds of processor time and of the clock that a command takes, with all that it starts."""
    environment = os.environ | {"HOME": str(home), "RAY_AUTH_MODE": "disabled", "SPARK_LOCAL_IP": "127.0.0.1"}
    with group() as folder:
        began = time.perf_counter()
        subprocess.run(
            command,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: (folder / "cgroup.procs").write_text(str(os.getpid())),
        )
        seconds = time.perf_counter() - began
        while (folder / "cgroup.procs").read_text():  # an engine may take a moment to end
            time.sleep(0.1)
        return busy(folder), seconds


def same(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and not any(
        filecmp.cmpfiles(one, other, names, shallow=False)[1:]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--engines", nargs="*", default=["dask", "ray", "spark"])
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos(folder / "photos", args.count)
        command = [sys.executable, "-m", "graft", "features", str(folder / "photos"), "--model", args.model]
        command += ["--device", "cpu", "--no-cache", "--part-images", "128"]
        for engine in ("none", *args.engines):
            out = folder / engine
            how = [] if engine == "none" else ["--engine", engine]
            cpu, seconds = run([*command, "--out", str(out), *how], folder)
            rows.append([engine, f"{cpu:.1f}", f"{seconds:.1f}", str(same(folder / "none", out))])
    print(table(["engine", "CPU seconds", "seconds", "same bytes"], rows))


if __name__ == "__main__":
    main()

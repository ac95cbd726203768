"""Ray, Spark and Dask as they are: the folder of one run, and what is left when processes and machines are ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_extraction import extract_to
from feature_extraction.sources import images
from models.features import FeatureOptions, open_features
from tests import optional
from tests.feature_extraction.engines.driving import CONFIG, HELD, ONCE, POISON
from tests.fixtures import plain

pytestmark = [pytest.mark.engines, pytest.mark.smoke]

ROOT = Path(__file__).parents[3]
IMAGES = 26
PARTS = 7
# Places must be found by other processes: not in `__main__`.
DRIVER = "import sys; from tests.feature_extraction.engines.driving import main; main(*sys.argv[1:])"
LIBRARIES = {"ray": "ray", "spark": "pyspark", "dask": "distributed"}
PATIENCE = 240  # seconds until something that must happen is missed


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(IMAGES):
        (folder / f"{i:02}.png").write_bytes(plain((i, 2 * i, 0), (16, 16)))
    (folder / "09.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def expected(photos: Path, tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The folder of one run."""
    out = tmp_path_factory.mktemp("whole")
    features = open_features(tiny_path, FeatureOptions(), CONFIG)
    extract_to(out, images(str(photos)), features, "npy", batch_size=2, part_images=4)
    return contents(out)


@pytest.fixture
def start(photos: Path, tiny_path: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts drivers; what is left of them is ended."""
    processes = []

    def started(name: str, *kinds: str, **variables: str) -> subprocess.Popen[str]:
        optional.library(LIBRARIES[name], extra=name)
        if name == "spark":
            optional.program("java", "default-jre-headless")
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, name, str(tiny_path), str(photos), str(tmp_path / "out"), *kinds],
            cwd=ROOT,
            env=environment(tmp_path) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def environment(home: Path) -> dict[str, str]:
    """For engines, which write into the home, and tell their makers how they are used."""
    return os.environ | {
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("part-*")} | {
        name: (path / name).read_bytes() for name in ("index.csv", "failed.jsonl", "manifest.jsonl")
    }


def told(process: subprocess.Popen[str]) -> list[Any]:
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def wait(condition: Callable[[], object]) -> None:
    """Until something happens that must."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("name", LIBRARIES)
def test_killed_workers_cost_nothing_and_poison_is_named(
    start: Callable[..., subprocess.Popen[str]], expected: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    made, errors, rest, no_errors = told(start(name, "deadly", "plain"))
    assert made == {"made": [part for part in range(PARTS) if part != POISON]}
    assert "part 3 (4 images from" in errors["errors"][str(POISON)]
    assert "has ended its process 3 times" in errors["errors"][str(POISON)]
    assert (tmp_path / "out" / "once").exists(), f"part {ONCE} killed nobody"
    assert (rest, no_errors) == ({"made": [POISON]}, {"errors": {}})  # nothing else is made twice
    assert contents(tmp_path / "out") == expected


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two machines of Ray, or so it believes, with two cores each."""
    optional.library("ray", extra="ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(Path.home()).items():
            if name.startswith("RAY"):
                patch.setenv(name, value)
        two = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        yield two
        two.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_removed_machine_and_killed_driver(
    start: Callable[..., subprocess.Popen[str]], expected: dict[str, bytes], tmp_path: Path, cluster: Any
) -> None:
    second = cluster.add_node(num_cpus=2)
    out = tmp_path / "out"
    driver = start("ray", "holding", ENGINE_ADDRESS=cluster.address)
    wait(lambda: len(list(out.glob("held-*"))) == 4)  # as many as there are cores, on both machines
    wait(lambda: len(list((out / ".parts").glob("*.json"))) == HELD)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = {file: file.stat().st_mtime_ns for file in out.glob("part-0000[01].*")}

    driver = start("ray", "holding", ENGINE_ADDRESS=cluster.address)
    wait(lambda: len(list(out.glob("held-*"))) == 8)
    cluster.remove_node(second, allow_graceful=False)
    (out / "go").touch()
    made, errors = told(driver)
    assert (made, errors) == ({"made": list(range(HELD, PARTS))}, {"errors": {}})
    assert {file: file.stat().st_mtime_ns for file in out.glob("part-0000[01].*")} == before
    assert contents(out) == expected

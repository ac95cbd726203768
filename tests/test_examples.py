"""Every program in examples/ runs as a file, from another folder; what would take long is trained with less."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import optional

FOLDER = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py"))
# Programs that need more than the tests do, and what that is: modules, each with what brings it.
NEEDED = {
    "parameter_server": {"ray": "pip install '.[workers]'"},
    "ray_train": {
        "ray": "pip install '.[workers]'",
        "ray.train": "pip install 'ray[train]'",
        "torch": "pip install torch",
    },
}
SLOW = {"notmnist_cnn", "notmnist_pooling"}
# Pipelines of engines, and the libraries that they need; these warn of one another, as Ray Train does.
ENGINES = {
    "features_daft": "daft",
    "features_dask": "distributed",
    "features_ray": "ray.data",
    "features_spark": "pyspark.sql",
}
FEWER_GLYPHS = """
import runpy, sys
sys.path[0] = sys.argv[1]  # as Python starts a file: its folder is the first of the path
from shared import notmnist
learn, test = notmnist.load()
few = [notmnist.Glyphs(g.images[:n], g.labels[:n]) for g, n in ((learn, 2560), (test, 1000))]
notmnist.load = lambda: few
runpy.run_path(f"{sys.argv[1]}/{sys.argv[2]}.py")["main"](epochs=1, at_least=0.8)
"""


def run(name: str, folder: Path, *start: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program, started in `folder`; `start`: what is started in place of its file."""
    return subprocess.run(
        [
            sys.executable,
            *(() if name in {*ENGINES, "ray_train"} else ("-W", "error")),
            *(start or [str(FOLDER / f"{name}.py")]),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_readme_names_all_examples() -> None:
    named = re.findall(r"`python examples/(\w+)\.py`", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == PROGRAMS
    assert set(PROGRAMS) >= SLOW


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.workers if name in NEEDED else ())
        for name in PROGRAMS
        if name not in ENGINES
    ],
)
def test_example(name: str, tmp_path: Path) -> None:
    for module, how in NEEDED.get(name, {}).items():
        pytest.importorskip(module, reason=f"{module} is not installed: {how}", exc_type=ImportError)
    if name.startswith("notmnist"):
        optional.data_set("notmnist_10k")
    start = ("-c", FEWER_GLYPHS, str(FOLDER), name) if name in SLOW else ()
    done = run(name, tmp_path, *start)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.engines
@pytest.mark.smoke
@pytest.mark.parametrize("name", ENGINES)
def test_pipeline_of_an_engine(name: str, tmp_path: Path) -> None:
    optional.library(ENGINES[name].partition(".")[0], extra="engines")
    if name == "features_spark":
        optional.program("java", "default-jre-headless")
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "SPARK_LOCAL_IP": "127.0.0.1"}
    done = run(name, tmp_path, HOME=str(tmp_path), **quiet)
    assert done.returncode == 0, done.stderr
    assert "23 vectors of 1280 numbers; 07.png: the image is cut off" in done.stdout


def test_missing_data_is_explained(tmp_path: Path) -> None:
    done = run("notmnist_softmax", tmp_path, GRAFT_DATA=str(tmp_path))
    assert done.returncode == 1
    assert re.match(r".* holds no t10k-images.*They are part of https://", done.stderr)

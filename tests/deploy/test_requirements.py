"""What the images install, and how they are described."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.requirements import name_of, requirements
from models.extras import LEFT_OUT

ROOT = Path(__file__).parents[2]
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def names(lines: list[str]) -> set[str]:
    return {name_of(line) for line in lines}


def test_image_for_the_cpu_installs_all_dependencies_but_for_another_onnxruntime() -> None:
    assert names(requirements("cpu")) == names(DEPENDENCIES) - {"onnxruntime-gpu"}
    assert [line.replace("onnxruntime-gpu", "onnxruntime") for line in DEPENDENCIES] == requirements("cpu")


def test_image_with_openvino_takes_its_build_of_onnxruntime_and_no_other() -> None:
    builds = {name for name in names(requirements("openvino")) if name.startswith("onnxruntime")}
    assert builds == {"onnxruntime-openvino"}
    assert names(requirements("openvino")) - builds == names(requirements("cpu")) - {"onnxruntime"}


def test_small_image_leaves_out_what_is_named_and_nothing_else() -> None:
    left_out = [line for line in requirements("cpu") if line not in requirements("serve")]
    assert names(left_out) == set(LEFT_OUT)
    assert [line for line in requirements("cpu") if line not in left_out] == requirements("serve")


def test_list_is_printed_without_any_package_installed() -> None:
    command = [sys.executable, "-I", "-S", "-c"]
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['', 'serve']; "
    code += "runpy.run_module('deploy.requirements', run_name='__main__')"
    done = subprocess.run([*command, code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == requirements("serve")


@pytest.mark.parametrize("arguments", [[], ["cuda"], ["serve", "cpu"]])
def test_image_that_is_none_is_refused(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "deploy.requirements", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"given: {' '.join(arguments)!r}; expected one of cpu, openvino, serve." in done.stderr


def test_what_the_images_are_built_from_is_not_kept_from_them() -> None:
    """Copied into the build: what the list is made from stands in .dockerignore with an exclamation mark."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"!deploy/requirements.py", "!pyproject.toml", "!models"} <= set(ignored)
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert {"cpu", "serve", "cuda", "openvino"} <= set(targets)

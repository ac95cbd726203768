"""`import graft` beside modules of other people that have the names of its packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graft.strangers import PACKAGES

ROOT = Path(__file__).parent.parent.parent


def python(folder: Path, *arguments: str, first: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A fresh Python in `folder`, with `first` at the beginning of PYTHONPATH."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(first), str(ROOT)])}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("form", ["{name}.py", "{name}/__init__.py"])
def test_stranger_beside_the_program_is_named_and_not_run(tmp_path: Path, name: str, form: str) -> None:
    stranger = tmp_path / form.format(name=name)
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("open('it-ran', 'w')", encoding="utf-8")
    (tmp_path / "program.py").write_text("import graft", encoding="utf-8")
    done = python(tmp_path, "program.py")
    place = tmp_path / form.format(name=name).removesuffix("/__init__.py")
    assert done.returncode == 1
    assert last_line(done).startswith(
        f"ImportError: Graft cannot be imported, because {place} stands before Graft's own package '{name}' on Python's"
    )
    assert f"rename it, or take {tmp_path} off the path" in last_line(done)
    assert not (tmp_path / "it-ran").exists()


def test_stranger_that_is_imported_already_is_named(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("", encoding="utf-8")
    (tmp_path / "program.py").write_text(
        "import models, sys; sys.path.pop(0); import graft", encoding="utf-8"
    )
    done = python(tmp_path, "program.py")
    assert f"because {tmp_path / 'models.py'} stands before" in last_line(done)


def test_command_names_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("", encoding="utf-8")
    done = python(tmp_path, "-m", "graft", "--version")
    assert f"because {tmp_path / 'service.py'} stands before" in last_line(done)


def test_folder_that_is_no_package_does_no_harm(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "network.onnx").touch()
    done = python(tmp_path, "-c", "import graft; print(graft.errors.__file__)")
    assert done.stdout.strip() == str(ROOT / "models" / "errors.py"), done.stderr


def test_own_packages_keep_their_names_once_graft_is_imported(tmp_path: Path) -> None:
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "service.py").write_text("raise RuntimeError('the wrong service')", encoding="utf-8")
    code = "import graft, sys; sys.path.insert(0, 'late'); print(graft.__version__)"
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr

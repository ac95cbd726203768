"""What is installed is what stands in the tree, and it works away from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import skimage

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("feature_extraction", "finetune", "models", "service")


def test_every_package_is_listed() -> None:
    found = [path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    names = sorted(".".join(path.relative_to(ROOT).parts) for path in found)
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == names


def test_changelog_knows_the_version() -> None:
    version = PROJECT["project"]["version"]
    assert re.search(
        rf"^## .*{re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel, built from a copy so that the tree stays clean, and without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder))
    return next(folder.glob("*.whl"))


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.smoke
def test_wheel_holds_the_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"models/builtin/graft_mini.onnx", "models/data/imagenet_1k.tsv"} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)


@pytest.mark.smoke
def test_installed_wheel_classifies_offline_beside_a_folder_named_models(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip("--python", str(scripts / "python"), "install", "--no-deps", "--no-index", str(wheel))
    # The dependencies are those of this environment. Paths in a .pth file do not have their own .pth files read,
    # so the tree that this environment may have installed in place is not among them.
    site = next((tmp_path / "venv").rglob("site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    work = tmp_path / "work"
    (work / "models").mkdir(parents=True)
    (work / "models" / "__init__.py").write_text("raise RuntimeError('the wrong models')", encoding="utf-8")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GRAFT"))}
    no_network = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    photo = Path(skimage.__file__).parent / "data" / "coffee.png"
    done = subprocess.run(
        [str(scripts / "graft"), "classify", "--json", str(photo)],
        cwd=work,
        env=clean | no_network,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "espresso" in done.stdout

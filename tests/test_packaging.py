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
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage

from service.cli.doctor import OPTIONAL

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("feature_extraction", "finetune", "graft", "models", "service")


def test_changelog_knows_the_version() -> None:
    version = PROJECT["project"]["version"]
    assert re.search(
        rf"^## .*{re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M
    )


def pages_and_sources() -> Iterator[tuple[Path, str]]:
    """Every text of the project that somebody reads, but for the tests."""
    folders = (ROOT / name for name in (*PACKAGES, "docs", "examples", "benchmarks", "scripts"))
    for path in [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]:
        if path.suffix in {".md", ".py", ".html", ".toml"} or path.name in {"Dockerfile", "Makefile"}:
            yield path, path.read_text(encoding="utf-8")


def test_nobody_is_told_to_install_a_name_of_ours_from_the_index() -> None:
    """There `graft` is somebody else's package, and nothing is published."""
    commands = [
        (path, command)
        for path, text in pages_and_sources()
        for command in re.findall(r"pip install ([^\n`]*)", text)
    ]
    assert len(commands) > 5
    for path, command in commands:
        names = [re.split(r"[\[=<>~!;]", word.strip("\"',.()"))[0] for word in command.split()]
        assert not {"graft", "graft-vision", "graft_vision"} & set(names), f"{path}: {command}"


def test_extras_that_are_named_exist() -> None:
    named = {extra for _, extra in OPTIONAL.values()}
    for _, text in pages_and_sources():
        named.update(re.findall(r"how_to_install\([\"'](\w+)", text))
        named.update(re.findall(r"install [^\n]*'\.\[(\w+)\]'", text))
        named.update(re.findall(r"\.installed-(\w+)", text))  # make installs it
    assert named == PROJECT["project"]["optional-dependencies"].keys()


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
    # In a checkout that PYTHONPATH names pip sees a package that is there already, and installs none.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr


@pytest.mark.smoke
def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files == {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


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

    def classify(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(scripts / "graft"), "classify", "--json", str(photo)]
        variables = clean | no_network | environment
        return subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True, check=False)

    done = classify()
    assert done.returncode == 0, done.stderr
    assert "espresso" in done.stdout
    hidden = classify(PYTHONPATH=str(work))
    assert hidden.returncode == 1
    assert f"because {work / 'models'} stands before Graft's own package 'models'" in hidden.stderr

"""The packages depend on each other in one direction only, and cheap imports stay cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "models": set(),
    "feature_extraction": {"models"},
    "finetune": {"models", "feature_extraction"},
    "service": {"models", "feature_extraction", "finetune"},
    "graft": {"models", "feature_extraction", "finetune", "service"},
}
ONLY_IN = {
    name: {"service"}
    for name in ("flask", "h11", "grpc", "prometheus_client", "opentelemetry", "click", "rich")
}
# Graphs make tensors and tensors name their graph: types of one another. Nothing else may go in a circle, neither by
# an import within a function nor by one for annotations alone.
CORE = {f"finetune.autodiff.{name}" for name in ("current", "graph", "registry", "tensor")}
DEVELOPMENT_ONLY = {"torch", "torchvision", "timm", "keras", "tensorflow", "pytest", "skimage"}


def imports(path: Path) -> set[str]:
    """Top-level names of every module that a file imports, inside functions too."""
    return {name.partition(".")[0] for name in imported(path)}


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, inside functions and for annotations alone too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(root: Path) -> dict[str, set[str]]:
    """From each module of our packages in `root` to those that it imports; a package's `__init__` has its name."""
    paths = {
        path.relative_to(root).with_suffix("").as_posix().removesuffix("/__init__").replace("/", "."): path
        for package in MAY_IMPORT
        for path in (root / package).rglob("*.py")
    }

    def module(name: str) -> str:
        """The module in which `name` stands, "" for a stranger's."""
        while name and name not in paths:
            name = name.rpartition(".")[0]
        return name

    return {name: {module(other) for other in imported(path)} - {name, ""} for name, path in paths.items()}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules from each of which one gets to all the others."""
    reached = {name: set(others) for name, others in arrows.items()}
    for middle in arrows:  # Warshall 1962
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    rings = {
        frozenset(other for other in others if name in reached[other]) for name, others in reached.items()
    }
    return sorted(map(set, rings - {frozenset()}), key=min)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_point_downwards(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        found = imports(path)
        ours = found & set(MAY_IMPORT) - {package}
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"
        assert not found & DEVELOPMENT_ONLY, f"{path} imports {found & DEVELOPMENT_ONLY}"
        for name, where in ONLY_IN.items():
            assert name not in found or package in where, f"{path} imports {name}"


def test_no_circle_of_imports_but_the_core_of_the_graph() -> None:
    assert circles(arrows(ROOT)) == [CORE]


@pytest.mark.parametrize(
    "line",
    [
        "from {0} import y",
        "import {0}",
        "def late() -> None:\n    from {0} import y",
        "if TYPE_CHECKING:\n    from {0} import y",
    ],
    ids=["top", "whole", "in a function", "for annotations"],
)
def test_a_planted_circle_is_seen(tmp_path: Path, line: str) -> None:
    for module, other in (
        ("models/a", "models.b"),
        ("models/b", "models.rest.c"),
        ("models/rest/c", "models.a"),
    ):
        path = tmp_path / f"{module}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(line.format(other), encoding="utf-8")
    (tmp_path / "models" / "d.py").write_text("from models import a", encoding="utf-8")
    assert circles(arrows(tmp_path)) == [{"models.a", "models.b", "models.rest.c"}]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import models.model", {"onnx", "sklearn", "flask", "finetune", "scipy"}),
        ("import feature_extraction", {"sklearn", "flask", "finetune"}),
        ("import graft", {"numpy", "onnxruntime", "onnx", "sklearn", "flask", "click", "PIL"}),
        ("import service.server", {"opentelemetry", "onnx", "sklearn", "grpc"}),
        ("import service.cli", {"numpy", "onnxruntime", "onnx", "sklearn", "flask", "PIL", "rich"}),
    ],
)
def test_imports_stay_cheap(statement: str, absent: set[str]) -> None:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())


@pytest.mark.parametrize("folder", [ROOT / "tests", *(p for p in (ROOT / "tests").rglob("*") if p.is_dir())])
def test_every_test_folder_is_a_package(folder: Path) -> None:
    """Otherwise `tests/models` would shadow the package `models`."""
    if list(folder.glob("*.py")):
        assert (folder / "__init__.py").is_file()


def test_every_room_has_tests_in_a_folder_of_its_name_or_in_a_file() -> None:
    for package in MAY_IMPORT:
        for init in (ROOT / package).rglob("__init__.py"):
            room = init.parent.relative_to(ROOT)
            own, above = ROOT / "tests" / room, ROOT / "tests" / room.parent / f"test_{room.name}.py"
            assert list(own.glob("test_*.py")) or above.is_file(), f"{room} has no tests"


def test_tests_stand_where_that_stands_which_they_are_named_after() -> None:
    """A file of tests that is named after no module tests its room as a whole."""
    for path in (ROOT / "tests").glob("*/**/test_*.py"):
        folder, name = path.parent.relative_to(ROOT / "tests"), path.stem.removeprefix("test_")
        room, top = ROOT / folder, ROOT / folder.parts[0]
        assert (room / "__init__.py").is_file(), f"{path}: no package {folder}"
        if name != room.name and not (room / f"{name}.py").is_file() and not (room / name).is_dir():
            above = [parent / f"{name}.py" for parent in room.parents if parent.is_relative_to(top)]
            misplaced = [*room.rglob(f"{name}.py"), *filter(Path.is_file, above)]
            assert not misplaced, f"{path} is named after {misplaced[0]}, and stands elsewhere"

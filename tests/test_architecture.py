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
ONLY_IN = {"flask": {"service"}, "waitress": {"service"}, "click": {"service"}, "rich": {"service"}}
DEVELOPMENT_ONLY = {"torch", "torchvision", "timm", "keras", "tensorflow", "pytest", "skimage"}


def imports(path: Path) -> Iterator[str]:
    """Top-level names of every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_point_downwards(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        found = set(imports(path))
        ours = found & set(MAY_IMPORT) - {package}
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"
        assert not found & DEVELOPMENT_ONLY, f"{path} imports {found & DEVELOPMENT_ONLY}"
        for name, where in ONLY_IN.items():
            assert name not in found or package in where, f"{path} imports {name}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import models.model", {"onnx", "sklearn", "flask", "finetune", "scipy"}),
        ("import feature_extraction", {"sklearn", "flask", "finetune"}),
        ("import graft", {"numpy", "onnxruntime", "onnx", "sklearn", "flask", "click", "PIL"}),
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

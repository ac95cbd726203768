"""Each package has a door: public names, imported when they are first asked for, that type checkers see too."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("feature_extraction", "finetune", "graft", "models", "service")


def seen_by_type_checkers(package: str) -> dict[str, Any]:
    """What the imports under `TYPE_CHECKING` give."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    names: dict[str, Any] = {}
    exec("\n".join(map(ast.unparse, block.body)), names)
    del names["__builtins__"]
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_those_that_type_checkers_see(package: str) -> None:
    module = importlib.import_module(package)
    expected = seen_by_type_checkers(package)
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) == set(expected)
    assert dir(module) == sorted(expected)
    for name, value in expected.items():
        assert getattr(module, name) is value


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        _ = importlib.import_module(package).nonsense


@pytest.mark.parametrize("package", PACKAGES)
def test_import_alone_loads_nothing_but_ours(package: str) -> None:
    """No NumPy, no onnxruntime: a door costs nothing until a name is asked for."""
    code = f"import sys; before = {{*sys.modules}}; import {package}; print(*{{*sys.modules}} - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert package in loaded
    assert loaded <= {*PACKAGES} | sys.stdlib_module_names

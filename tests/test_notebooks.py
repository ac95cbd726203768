"""The notebooks of examples/ run from their first cell to the last, and are kept with what they print."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
nbformat.write(notebook, "executed.ipynb")
"""
# What a run must print: how many of the images that were kept for measuring are right.
RIGHT = re.compile(r"([\d.]+)% of the test digits|on the test photos ([\d.]+)%")


def cells(file: Path) -> list[dict[str, Any]]:
    return [
        cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
    ]


def printed(file: Path) -> str:
    outputs = [output for cell in cells(file) for output in cell["outputs"]]
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_kept_with_what_it_prints(file: Path) -> None:
    assert [cell["execution_count"] for cell in cells(file)] == list(range(1, len(cells(file)) + 1))
    assert RIGHT.search(printed(file))
    assert "site-packages" not in file.read_text(encoding="utf-8")  # nor any other folder of whoever ran it


@pytest.mark.notebook
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_runs_to_its_end(file: Path, tmp_path: Path) -> None:
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[notebook]'")
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(file)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    shares = [float(a or b) for a, b in RIGHT.findall(printed(tmp_path / "executed.ipynb"))]
    assert shares
    assert min(shares) >= 90


def test_readme_names_all_notebooks() -> None:
    named = re.findall(r"\]\((\w+\.ipynb)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == [file.name for file in NOTEBOOKS]

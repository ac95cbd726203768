"""Plots are drawn whatever the surroundings ask of matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DRAWS = """
from finetune.report.drawing import draw
assert draw("line", "A line.", lambda axes: axes.plot([1, 2])).startswith("<svg")
import matplotlib, os
print(matplotlib.rcParams["backend"], os.environ["MPLBACKEND"])
"""


@pytest.mark.parametrize(
    ("backend", "kept"),
    [("module://no.such.backend", "module://no.such.backend"), ("nonsense", None), ("pdf", "pdf")],
)
def test_the_backend_of_a_notebook_is_no_matter(backend: str, kept: str | None) -> None:
    surroundings = {**os.environ, "MPLBACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", DRAWS], env=surroundings, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    shown, told = run.stdout.split()
    assert told == backend
    assert kept is None or shown.casefold() == kept

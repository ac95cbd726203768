"""Nobody is told that somebody uses a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIABLE = "ORT_DISABLE_TELEMETRY"


@pytest.mark.parametrize(
    "statement", ["import models.runtime", "import graft; graft.Model", "import service.cli.doctor"]
)
@pytest.mark.parametrize(("given", "stands"), [(None, "1"), ("0", "0")])
def test_onnxruntime_reports_nothing_unless_its_user_says_so(
    statement: str, given: str | None, stands: str
) -> None:
    """Its library reads the variable while it is imported."""
    code = f"""
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get({VARIABLE!r}))

sys.meta_path.insert(0, Watch())
{statement}
"""
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    variables = clean | ({VARIABLE: given} if given is not None else {})
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [stands]

"""Prints what an image installs: `python -m deploy.requirements serve`, from the root of the source.

pyproject.toml is the one list. The images `cpu` and `serve` take onnxruntime in place of onnxruntime-gpu, which
unpacks to 340 MB, most of it CUDA code, and `openvino` the build with OpenVINO; `serve` leaves out what serving
finished files does not need.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from models.extras import LEFT_OUT

IMAGES = ("cpu", "openvino", "serve")
_NAME = re.compile(r"[\w.-]+")


def requirements(image: str) -> list[str]:
    """The lines of a requirements file for an image."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    lines: list[str] = project["project"]["dependencies"]
    if image == "serve":
        lines = [line for line in lines if name_of(line) not in LEFT_OUT]
    if image == "openvino":  # which has wheels for x86-64 alone
        return [re.sub(r"^onnxruntime(-gpu)?\b", "onnxruntime-openvino", line) for line in lines]
    return [re.sub(r"^onnxruntime-gpu\b", "onnxruntime", line) for line in lines]


def name_of(requirement: str) -> str:
    """The package that a requirement asks for."""
    name = _NAME.match(requirement)
    assert name is not None, requirement
    return name[0]


if __name__ == "__main__":
    if sys.argv[1:] not in [[image] for image in IMAGES]:
        sys.exit(f"given: {' '.join(sys.argv[1:])!r}; expected one of {', '.join(IMAGES)}.")
    print("\n".join(requirements(sys.argv[1])))

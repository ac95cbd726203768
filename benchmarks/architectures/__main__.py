"""What Graft reads out of exported networks, beside what the networks themselves say.

    python -m benchmarks.architectures FOLDER --torch PYTHON --keras PYTHON [--only NAME ...] [--into docs/models.md]

PYTHON is an interpreter that has the library: `export_torch` and `export_keras` say what they need. Each network is
exported and measured in a process of its own; what lies in FOLDER already is kept, results too, so that an ended run
goes on. `measure` says what is compared. One row a network, the worse of its two exports in each column; what fails
stands below, with the reason. `--into` puts the table in place of the one in a page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.architectures.networks import EXPORTERS, KERAS, TIMM, TORCHVISION

_BEGIN, _END = "<!-- architectures -->", "<!-- /architectures -->"
_LIMIT_S = 1800
_COLUMNS = ("scale", "top-5", "features", "gradients", "Grad-CAM", "int8", "blocks")
_LIBRARIES = (("torchvision", TORCHVISION), ("timm", TIMM), ("keras.applications", KERAS))
_Result = dict[str, Any]


def exported(folder: Path, name: str, python: str | None) -> bool:
    """Whether the files of a network are there, or could be made."""
    if not (folder / f"{name}.json").is_file() and python is not None:
        script = "export_keras" if name in KERAS else "export_torch"
        _run([python, "-m", f"benchmarks.architectures.{script}", str(folder), name])
    return (folder / f"{name}.json").is_file()


def result(folder: Path, name: str, exporter: str) -> _Result:
    """What was measured of a file, now or before."""
    path = folder / "results" / f"{name}.{exporter}.json"
    if not path.is_file():
        reason = _run([sys.executable, "-m", "benchmarks.architectures.measure", str(folder), name, exporter])
        if reason:
            return {
                "network": name,
                "exporter": exporter,
                "scale": "",
                "figures": {},
                "failures": {"import": reason},
            }
    return json.loads(path.read_text(encoding="utf-8"))


def _run(command: list[str]) -> str:
    """Run to the end, within a limit; what went wrong."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    try:
        subprocess.run(command, check=True, timeout=_LIMIT_S, env=environment)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        return f"the process ended: {exc}"
    return ""


def table(results: list[_Result]) -> Iterator[str]:
    """Markdown: the worse of both exports in each column."""
    yield f"| network | {' | '.join(_COLUMNS)} |"
    yield f"|---|{'---|' * len(_COLUMNS)}"
    by_name = {name: [each for each in results if each["network"] == name] for name in _names(results)}
    for library, names in _LIBRARIES:
        measured = [name for name in names if name in by_name]
        if measured:
            yield f"| **{library}** |{' |' * len(_COLUMNS)}"
        for name in measured:
            cells = " | ".join(_cell(by_name[name], column) for column in _COLUMNS)
            yield f"| {name.removeprefix('keras_')} | {cells} |"
    failures = [
        (each["network"].removeprefix("keras_"), each["exporter"], column, reason)
        for each in results
        for column, reason in each["failures"].items()
    ]
    if failures:
        yield ""
    for name, exporter, column, reason in failures:
        yield f"- {name}, {exporter}, {column}: {_line(reason)}"


def _line(reason: str) -> str:
    """The first line, without the colours of a terminal."""
    return re.sub(r"\x1b\[\d+m", "", reason).strip().splitlines()[0]


def _names(results: list[_Result]) -> list[str]:
    return list(dict.fromkeys(each["network"] for each in results))


def _cell(results: list[_Result], column: str) -> str:
    results = [each for each in results if "export" not in each["failures"]]
    if column == "scale":
        return ", ".join(dict.fromkeys(each["scale"] or "no" for each in results))
    if any(column in each["failures"] for each in results):
        return "no"
    figures = [each["figures"][column] for each in results if column in each["figures"]]
    if len(figures) < len(results):
        return "-"
    if column == "int8":
        return f"{min(each['figures']['cosine'] for each in results):.2f}, {min(figures):.0%}"
    if column == "Grad-CAM" and not max(figures):
        return "both empty"
    return f"{max(figures):.0e}"


def main() -> None:
    """Print a line a file as it is measured, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--keras", metavar="PYTHON")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--into", type=Path, metavar="PAGE")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = []
    for name in arguments.only or (*TORCHVISION, *TIMM, *KERAS):
        python = arguments.keras if name in KERAS else arguments.torch
        if exported(arguments.folder, name, python):
            exporters = EXPORTERS["keras" if name in KERAS else "torch"]
            results += [result(arguments.folder, name, exporter) for exporter in exporters]
    lines = "\n".join(table(results))
    print(f"\n{lines}")
    if arguments.into:
        page = arguments.into.read_text(encoding="utf-8")
        before, rest = page.split(_BEGIN)
        _, after = rest.split(_END)
        arguments.into.write_text(f"{before}{_BEGIN}\n{lines}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

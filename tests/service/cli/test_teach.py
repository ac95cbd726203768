"""`graft teach`: a service for whoever sits at this machine, its page in a browser, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.running import Run

PATIENCE_S = 120.0


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A program that is called as a browser is, and keeps the address."""
    program = tmp_path / "browser"
    part, whole = tmp_path / "address.part", tmp_path / "address"
    program.write_text(f'#!/bin/sh\necho "$1" > {part}\nmv {part} {whole}\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def teaching(tiny_path: Path, tmp_path: Path, browser: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "graft", "teach", str(tiny_path)],
        env={**os.environ, "BROWSER": str(browser), "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


@pytest.mark.smoke
@pytest.mark.skipif(sys.platform == "win32", reason="the browser of the test is a shell script")
def test_it_opens_the_page_and_leaves_nothing(teaching: subprocess.Popen[str], tmp_path: Path) -> None:
    assert teaching.stdout is not None
    address = next(line.split()[0] for line in teaching.stdout if "  ready" in line)
    assert address.startswith("http://127.0.0.1:")
    pause, waited = threading.Event(), 0.0
    while not (tmp_path / "address").exists():
        assert waited < PATIENCE_S, "no browser was opened"
        pause.wait(0.05)
        waited += 0.05
    assert (tmp_path / "address").read_text().strip() == address
    with urllib.request.urlopen(f"{address}/v1/workspace", timeout=PATIENCE_S) as answer:
        assert json.load(answer)["teaching"] is True
    foreign = urllib.request.Request(f"{address}/v1/datasets", b"{}", {"Origin": "https://evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(foreign, timeout=PATIENCE_S)
    (folder,) = (tmp_path / "temporary").glob("graft-teach-*")
    assert (folder / "workspace.db").is_file()
    teaching.send_signal(signal.SIGINT)
    _, errors = teaching.communicate(timeout=PATIENCE_S)
    assert teaching.returncode == 0
    assert "What is taught here is gone when this ends" in errors
    assert list((tmp_path / "temporary").glob("graft-teach-*")) == []


def test_a_workspace_that_cannot_be_one_is_told(graft: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = graft("teach", "--no-browser", "--workspace", tmp_path / "file")
    assert result.exit_code == 2
    assert "cannot be used as a workspace" in result.output
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "workspace.db").write_bytes(b"no database" * 1000)
    result = graft("teach", "--no-browser", "--workspace", tmp_path / "taken")
    assert result.exit_code == 2
    assert "the records cannot be opened" in result.output

"""The process of a job says how it ended, also where its log can take no more."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.jobs.process import ANY_SIZE, PROCESS, RESULT, add_any_size, main

FULL = Path("/dev/full")  # a file on a disk that is full
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@contextlib.contextmanager
def full_log() -> Iterator[None]:
    """A log that has no room. No fixture: pytest sets its own log again before a test begins."""
    log = FULL.open("w", buffering=1)
    try:
        with contextlib.redirect_stderr(log):
            with pytest.raises(OSError, match="No space left"):
                print("more", file=sys.stderr)
            yield
    finally:
        with contextlib.suppress(OSError):
            log.close()


def test_job_that_fails_has_a_result_where_its_log_is_full(tmp_path: Path) -> None:
    with full_log():
        assert main(tmp_path, 0) == 1  # there is no job.json
    result = json.loads((tmp_path / RESULT).read_bytes())
    assert result == {"state": "failed", "error": "a fault in the job; its log has more."}
    assert not (tmp_path / "reserve").exists()


def test_job_goes_on_without_an_any_size_file_where_its_log_is_full(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    with full_log():
        add_any_size(model, 1)
    assert not model.with_name(ANY_SIZE).exists()


def test_job_that_cannot_say_which_process_does_it_has_a_result(tmp_path: Path) -> None:
    (tmp_path / PROCESS).symlink_to(FULL)
    assert main(tmp_path, 0) == 1
    assert "the disk of the workspace is full" in json.loads((tmp_path / RESULT).read_bytes())["error"]

"""`graft doctor`: versions, devices, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.running import Run


def test_doctor_names_versions_device_and_cache(
    graft: Run, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = graft("doctor", "--device", "cpu")
    assert result.exit_code in (0, 1)
    for word in ("graft", "python", "onnxruntime", "providers", "cuda", "device", "cache", "built-in model"):
        assert any(line.startswith(word) for line in result.stdout.splitlines()), word


def test_doctor_says_what_is_wrong(graft: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = graft("doctor", "--device", "openvino")
    assert result.exit_code == 1
    assert "OpenVINOExecutionProvider" in result.stdout

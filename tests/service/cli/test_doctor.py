"""`graft doctor`: versions, devices, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import doctor
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


@pytest.mark.parametrize(
    ("kind", "built", "words"),
    [
        ("x86_64 avx2 avx512_vnni", False, "not installed; int8 networks run up to 1.4 times as fast"),
        ("x86_64 avx2 avx512_vnni", True, "yes; int8 networks run up to 1.4 times as fast"),
        ("x86_64 avx2", False, ""),
        ("aarch64 asimd i8mm", False, ""),
    ],
)
def test_doctor_names_a_faster_engine_where_it_was_measured(
    graft: Run, monkeypatch: pytest.MonkeyPatch, kind: str, built: bool, words: str
) -> None:
    providers = [*(["OpenVINOExecutionProvider"] if built else []), "CPUExecutionProvider"]
    monkeypatch.setattr(doctor, "processor", lambda: kind)
    monkeypatch.setattr(doctor, "missing_for_cuda", lambda index: "no GPU")
    monkeypatch.setattr(doctor.onnxruntime, "get_available_providers", lambda: providers)
    rows = [
        line for line in graft("doctor", "--device", "cpu").stdout.splitlines() if line.startswith("openvino")
    ]
    assert len(rows) == bool(words)
    assert not words or words in rows[0]

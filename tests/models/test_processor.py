"""The kind of a processor, from lists as Linux gives them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from models.processor import processor


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "processor", lambda: "Somebody's Chip")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("processor\t: 0\nmodel name\t: One\nflags\t\t: fpu fma avx2 avx rdrand\n", "x86_64 avx avx2 fma"),
        ("model name\t: Two\nflags\t\t: avx avx2 fma\n", "x86_64 avx avx2 fma"),  # another of the same kind
        ("flags\t: avx avx2 fma avx512f\n", "x86_64 avx avx2 avx512f fma"),
        ("Features\t: fp asimd asimddp\n", "x86_64 asimd asimddp"),
        ("flags\t: fpu\nflags\t: avx\n", "x86_64 Somebody's Chip"),
        ("", "x86_64 Somebody's Chip"),
    ],
)
def test_processors_are_of_a_kind_by_what_kernels_are_chosen_by(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == kind


def test_a_system_without_a_list_has_the_name_of_its_processor(tmp_path: Path) -> None:
    assert processor(tmp_path / "nothing") == "x86_64 Somebody's Chip"

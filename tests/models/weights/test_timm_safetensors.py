"""Damaged `.safetensors` files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from models.errors import WeightsError
from models.weights import read
from scripts.golden.seeded import FOLDER


def write(path: Path, header: dict[str, object], data: bytes) -> Path:
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


@pytest.mark.parametrize(
    ("shape", "end", "kind"),
    [([2], 8, "F32"), ([2**62], 4, "F32"), ([1], 2**40, "F32"), ([2], 4, "BF16"), ([1], 4, "F99")],
)
def test_a_header_that_lies_is_refused(shape: list[int], end: int, kind: str, tmp_path: Path) -> None:
    header = {"w": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}
    with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be read .*expected a \.safetensors file"):
        read(write(tmp_path / "w.safetensors", header, bytes(4)))


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole, path = (FOLDER / "tiny.safetensors").read_bytes(), tmp_path / "w.safetensors"
    for size in (*range(9, len(whole), 41), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="cannot be read"):
            read(path)

"""Each reader on a small file that the real library wrote (`scripts/golden/torch_files.py`, `keras_file.py`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.build import build
from models.errors import WeightsError
from models.weights import read
from models.weights.canonical import expected_shapes
from scripts.golden.seeded import FOLDER, images
from tests.models.running import run, small_network

LIMIT = 100_000  # bytes


@pytest.mark.parametrize("name", ["tiny.pth", "tiny_legacy.pth", "tiny.safetensors"])
def test_tensors_are_exactly_those_that_were_saved(name: str) -> None:
    assert (FOLDER / name).stat().st_size < LIMIT
    tensors = read(FOLDER / name)
    with np.load(FOLDER / "tiny.npz") as file:
        expected = dict(file)
    if name.endswith(".safetensors"):
        expected = {
            key: value for key, value in expected.items() if key.partition(".")[0] in ("conv", "bn", "fc")
        }
    assert list(tensors) == list(expected) if name.endswith(".pth") else set(tensors) == set(expected)
    for key, value in expected.items():
        assert (tensors[key].dtype, tensors[key].shape) == (value.dtype, value.shape), key
        np.testing.assert_array_equal(tensors[key], value, key)


@pytest.mark.parametrize("name", ["tiny_keras.h5", "tiny_keras_whole.h5"])
def test_a_keras_file_computes_what_keras_computed(name: str) -> None:
    assert (FOLDER / name).stat().st_size < LIMIT
    network = small_network()
    weights = read(FOLDER / name, network)
    assert {key: value.shape for key, value in weights.items()} == expected_shapes(network)
    model = build(network, weights, mean=(0.5,) * 3, std=(0.5,) * 3)
    with np.load(FOLDER / "tiny_keras.npz") as file:
        np.testing.assert_allclose(run(model, images(8))["logits"], file["logits"], rtol=1e-4, atol=1e-5)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes((FOLDER / "tiny.pth").read_bytes())
    assert "fc.weight" in read(tmp_path / "weights.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a file of weights \(0 bytes read, beginning b''\); expected .pth from PyTorch"),
        (b"\x89PNG\r\n\x1a\n0", r"not a file of weights \(9 bytes read"),
    ],
)
def test_anything_else_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "weights")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: cannot be opened \(No such file or directory\)"):
        read(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=r"cannot be opened \(Is a directory\)"):
        read(tmp_path)

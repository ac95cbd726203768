"""Keras files that are not what they should be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.errors import WeightsError
from models.weights import read
from scripts.golden.seeded import FOLDER
from tests.models.running import small_network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A right file, to be spoilt."""
    return Path(shutil.copy(FOLDER / "tiny_keras.h5", tmp_path / "w.h5"))


def spoil(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def kernel_name(file: h5py.File) -> str:
    return "conv2d_1/" + file["conv2d_1"].attrs["weight_names"][0]


def test_long_lists_of_names_come_in_pieces(path: Path) -> None:
    expected = read(path, small_network())

    def split(file: h5py.File) -> None:
        names = list(file.attrs["layer_names"])
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:5], names[5:]

    found = read(spoil(path, split), small_network())
    assert all((found[name] == values).all() for name, values in expected.items())


def test_the_names_of_keras_2_end_in_a_colon(path: Path) -> None:
    expected = read(path, small_network())

    def rename(file: h5py.File) -> None:
        for layer in file.attrs["layer_names"]:
            names = list(file[layer].attrs["weight_names"])
            for name in names:
                file[layer].move(name, f"{name}:0")
            file[layer].attrs["weight_names"] = [f"{name}:0".encode() for name in names]
        file.attrs["layer_names"] = [name.encode() for name in file.attrs["layer_names"]]

    found = read(spoil(path, rename), small_network())
    assert all((found[name] == values).all() for name, values in expected.items())


def test_another_network_is_refused_with_a_census(path: Path) -> None:
    message = (
        "holds 4 convolutions, 4 batch norms and 1 dense layers; expected 94 convolutions, 94 batch norms"
    )
    with pytest.raises(WeightsError, match=message):
        read(path)


def test_the_layout_of_keras_3_is_refused_with_advice() -> None:
    with pytest.raises(WeightsError, match=r"without layer_names; .*model\.save\('name\.h5'\)"):
        read(FOLDER / "tiny_keras3.weights.h5", small_network())


def test_a_link_into_another_file_is_not_followed(path: Path) -> None:
    def link(file: h5py.File) -> None:
        name = kernel_name(file)
        del file[name]
        file[name] = h5py.ExternalLink("secret.h5", "/data")

    with pytest.raises(WeightsError, match=r"damaged \(.*kernel is missing or a link\)"):
        read(spoil(path, link), small_network())


def test_data_in_another_file_is_not_read(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(bytes(48))

    def refer(file: h5py.File) -> None:
        name = kernel_name(file)
        del file[name]
        file.create_dataset(name, (1, 1, 3, 4), "f4", external=[(str(secret), 0, 48)])

    with pytest.raises(WeightsError, match=r"kernel declares 48 bytes and does not hold them"):
        read(spoil(path, refer), small_network())


def test_a_huge_data_set_without_data_is_refused(path: Path) -> None:
    def inflate(file: h5py.File) -> None:
        name = kernel_name(file)
        del file[name]
        file.create_dataset(name, (1, 1, 2**20, 2**20), "f4", chunks=(1, 1, 64, 64))

    with pytest.raises(WeightsError, match=r"declares 4398046511104 bytes and does not hold them"):
        read(spoil(path, inflate), small_network())


def test_numbers_of_another_kind_are_refused(path: Path) -> None:
    def change(file: h5py.File) -> None:
        name = kernel_name(file)
        del file[name]
        file[name] = np.ones((1, 1, 3, 4), np.int8)

    with pytest.raises(WeightsError, match="kernel is not a data set of floating-point numbers"):
        read(spoil(path, change), small_network())


def test_a_layer_of_another_kind_is_refused(path: Path) -> None:
    def change(file: h5py.File) -> None:
        name = kernel_name(file)
        del file[name]
        file[name] = np.ones((3, 3, 4), np.float32)

    with pytest.raises(
        WeightsError, match="layer conv2d_1 holds kernel; expected a convolution, a batch norm"
    ):
        read(spoil(path, change), small_network())


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(16, len(whole), 4_001):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="damaged"):
            read(path, small_network())


def test_without_h5py_the_error_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"needs h5py, .* pip install '\.\[keras\]'"):
        read(path, small_network())

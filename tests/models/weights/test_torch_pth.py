"""Hostile and damaged `.pth` files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import WeightsError
from models.weights import read
from scripts.golden.seeded import FOLDER
from tests.models.weights import pth

ONES = np.ones(6, np.float32).tobytes()
Write = Callable[[Path, bytes], Path]


def in_zip(path: Path, body: bytes) -> Path:
    return pth.write_parts(path, pth.pickled(body), {"0": ONES})


def in_legacy(path: Path, body: bytes) -> Path:
    return pth.write_legacy(path, body, {"0": (6, ONES)})


def as_bare_pickle(path: Path, body: bytes) -> Path:
    path.write_bytes(pth.pickled(body))
    return path


both_formats = pytest.mark.parametrize("write", [in_zip, in_legacy])


@both_formats
def test_the_writer_of_these_tests_writes_right_files(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path / "w.pth", pth.mapping({"w": pth.tensor((2, 3))}))
    np.testing.assert_array_equal(read(path)["w"], np.ones((2, 3), np.float32))


def test_files_of_big_endian_machines_are_read(tmp_path: Path) -> None:
    swapped = np.arange(6, dtype=">f4").tobytes()
    body = pth.mapping({"w": pth.tensor((6,))})
    path = pth.write_parts(tmp_path / "w.pth", pth.pickled(body), {"0": swapped})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    old = pth.write_legacy(tmp_path / "old.pth", body, {"0": (6, swapped)}, big_endian=True)
    for file in (path, old):
        np.testing.assert_array_equal(read(file)["w"], np.arange(6))


@both_formats
def test_a_storage_described_in_two_ways_is_refused(write: Write, tmp_path: Path) -> None:
    body = pth.mapping({"a": pth.tensor((6,)), "b": pth.tensor((3,), storage="torch.LongStorage")})
    with pytest.raises(WeightsError, match="storage 0 is described in two ways"):
        read(write(tmp_path / "w.pth", body))


def test_a_legacy_file_that_forgets_a_storage_is_refused(tmp_path: Path) -> None:
    body = pth.mapping({"a": pth.tensor((6,)), "b": pth.tensor((6,), "1")})
    with pytest.raises(WeightsError, match="its list of storages does not fit its tensors"):
        read(in_legacy(tmp_path / "w.pth", body))


@pytest.mark.parametrize("write", [in_zip, in_legacy, as_bare_pickle])
@pytest.mark.parametrize("function", ["os.system", "posix.system", "builtins.eval", "subprocess.Popen"])
def test_code_is_refused_by_name_and_not_run(write: Write, function: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = write(tmp_path / "w.pth", pth.call(function, pth.text(f"touch {marker}")))
    with pytest.raises(WeightsError, match=f"loading it would run {function}, .* refused"):
        read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "opcode"),
    [
        (b"(" + pth.text("id") + b"ios\nsystem\n", "INST"),
        (b"(" + pth.name("collections.OrderedDict") + b"o", "OBJ"),
        (pth.name("collections.OrderedDict") + b")\x81", "NEWOBJ"),
        (b"\x82\x01", "EXT1"),
    ],
)
def test_other_ways_to_make_objects_are_refused(body: bytes, opcode: str, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=f"its pickle uses {opcode}; expected only what a state dict needs"
    ):
        read(in_zip(tmp_path / "w.pth", body))


def test_a_name_spelled_through_the_stack_is_refused(tmp_path: Path) -> None:
    body = pth.text("os") + pth.text("system") + b"\x93" + pth.sequence(pth.text("id")) + b"R"
    with pytest.raises(WeightsError, match=r"would run os\.system"):
        read(in_zip(tmp_path / "w.pth", body))


def test_a_whole_module_is_refused_with_advice(tmp_path: Path) -> None:
    body = pth.call("torchvision.models.inception.Inception3")
    with pytest.raises(
        WeightsError, match=r"run torchvision.models.inception.Inception3.*save model\.state_dict\(\)"
    ):
        read(in_zip(tmp_path / "w.pth", body))


@both_formats
@pytest.mark.parametrize(
    "tensor",
    [
        pth.tensor((2, 3), count=6, offset=1),
        pth.tensor((7,), count=6),
        pth.tensor((2, 3), count=6, strides=(4, 1)),
        pth.tensor((2**62, 2**62), count=6, strides=(0, 0)),
        pth.tensor((1000, 1000), count=6, strides=(0, 0)),
    ],
)
def test_a_tensor_larger_than_its_storage_is_refused(write: Write, tensor: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"damaged \(a tensor of shape .* does not fit its 6 elements\)"):
        read(write(tmp_path / "w.pth", pth.mapping({"w": tensor})))


@both_formats
@pytest.mark.parametrize("count", [5, 7, 2**62])
def test_a_storage_that_lies_about_its_size_is_refused(write: Write, count: int, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"damaged \(storage 0 (has 24 bytes|should hold)"):
        read(write(tmp_path / "w.pth", pth.mapping({"w": pth.tensor((1,), count=count)})))


@both_formats
@pytest.mark.parametrize(
    "tensor",
    [
        pth.tensor((2, 3), count=-6),
        pth.tensor((2, -3), count=6),
        pth.tensor((2, 3), offset=-1),
        pth.tensor((2, 3), strides=(-3, 1)),
        pth.tensor((2, 3), strides=(1,)),
        pth.tensor((2, 3), storage="collections.OrderedDict"),
        pth.call("torch._utils._rebuild_tensor_v2", pth.text("no storage"), *[pth.number(0)] * 3),
        pth.call("torch._utils._rebuild_tensor_v2"),
        pth.call("torch.FloatStorage"),
        b"R",
        b"h\x07",
        pth.tensor((6,)) + b"0",
    ],
)
def test_nonsense_is_refused(write: Write, tensor: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"its pickle (is damaged|uses POP)"):
        read(write(tmp_path / "w.pth", pth.mapping({"w": tensor})))


def test_keys_that_would_hash_deeply_are_refused(tmp_path: Path) -> None:
    deep = b")" + b"\x85" * 100_000
    with pytest.raises(WeightsError, match="keys that are neither strings nor integers"):
        read(in_zip(tmp_path / "w.pth", b"}" + deep + b"Ns"))


@pytest.mark.parametrize("body", [b"N", pth.mapping({"epoch": pth.number(3)}), pth.tensor((6,))])
def test_something_else_than_named_tensors_is_refused(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="something else than named tensors; expected a state dict"):
        read(in_zip(tmp_path / "w.pth", body))


@pytest.mark.parametrize("name", ["tiny.pth", "tiny_legacy.pth"])
def test_a_file_cut_off_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    whole, path = (FOLDER / name).read_bytes(), tmp_path / name
    for size in (*range(10, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"damaged|not one of torch\.save"):
            read(path)


def test_a_changed_byte_of_a_zip_file_is_noticed(tmp_path: Path) -> None:
    content = bytearray((FOLDER / "tiny.pth").read_bytes())
    with zipfile.ZipFile(FOLDER / "tiny.pth") as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
    content[info.header_offset + 200] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged .*Bad CRC-32"):
        read(tmp_path / "w.pth")


def test_a_compressed_zip_file_is_refused(tmp_path: Path) -> None:
    zeros = {"0": bytes(10_000_000)}
    path = pth.write_parts(tmp_path / "w.pth", pth.pickled(b"}"), zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="a compressed or encrypted zip file"):
        read(path)


def test_a_zip_file_that_declares_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = in_zip(tmp_path / "w.pth", b"}")
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 20 : directory + 28] = (2**31).to_bytes(
        4, "little"
    ) * 2  # both sizes of the last entry
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"declares more bytes than the \d+ that it has"):
        read(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"a zip file without data\.pkl"):
        read(tmp_path / "w.pth")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a pickle, but not one of torch\.save"):
        read(as_bare_pickle(tmp_path / "w.pth", pth.mapping({"a": pth.number(1)})))

"""Which device is chosen, and what is said when one cannot be had. No GPU is needed: the driver is played."""

from __future__ import annotations

import ctypes

import onnxruntime
import pytest

from models import devices
from models.devices import Device, choose_device, missing_for_cuda, parse_device
from models.errors import DeviceError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ("auto", 0)),
        ("cpu", ("cpu", 0)),
        ("CUDA", ("cuda", 0)),
        (" cuda:3 ", ("cuda", 3)),
        ("tensorrt:1", ("tensorrt", 1)),
    ],
)
def test_names_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_device(text) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "auto:1", "cuda 1"])
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="is not known; expected one of auto, cpu, cuda"):
        parse_device(text)


def play(
    monkeypatch: pytest.MonkeyPatch,
    gpus: int | None,
    providers: tuple[str, ...] = (),
    library: str | None = None,
) -> None:
    """Let the machine have so many GPUs (None: no driver), these providers, and lack this library."""
    monkeypatch.setattr(devices, "cuda_device_count", lambda: gpus)
    monkeypatch.setattr(devices, "_missing_library", lambda: library)
    have = ["CPUExecutionProvider", *(devices.PROVIDERS[kind] for kind in providers)]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: have)


@pytest.mark.parametrize(
    ("machine", "missing"),
    [
        ({"gpus": None}, "no NVIDIA driver"),
        ({"gpus": 0}, "the NVIDIA driver sees no GPU"),
        ({"gpus": 1}, "built for the CPU only; install onnxruntime-gpu in its place"),
        (
            {"gpus": 1, "providers": ("cuda",), "library": "libcudnn.so.9"},
            "libcudnn.so.9 cannot be loaded; install",
        ),
    ],
)
def test_first_missing_piece_is_named(monkeypatch: pytest.MonkeyPatch, machine: dict, missing: str) -> None:
    play(monkeypatch, **machine)
    assert missing in str(missing_for_cuda(0))
    chosen = choose_device("auto")
    assert chosen.kind == "cpu"
    assert missing in chosen.reason
    for name in ("cuda", "tensorrt"):
        with pytest.raises(DeviceError, match=f"device '{name}' cannot be had: .*Or use --device cpu"):
            choose_device(name)


def test_auto_takes_cuda_where_all_of_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 2, ("cuda",))
    assert choose_device("auto") == Device("cuda", 0, "a CUDA device and its libraries are there")
    assert str(choose_device("cuda:1")) == "cuda:1"
    assert choose_device("cuda:1").provider == "CUDAExecutionProvider"


def test_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, 1, ("cuda",))
    with pytest.raises(DeviceError, match="GPU 1 was asked for and the driver sees 1, numbered from 0"):
        choose_device("cuda:1")


def test_provider_that_was_not_built_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, None)
    with pytest.raises(DeviceError, match="built without CoreMLExecutionProvider; it has cpu"):
        choose_device("coreml")


def test_cpu_is_had_without_asking_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_device_count", lambda: pytest.fail("asked the driver"))
    assert str(choose_device("cpu")) == "cpu"


class _Driver:
    """libcuda, played."""

    def __init__(self, status: int, count: int) -> None:
        self._status, self._count = status, count

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802
        count._obj.value = self._count  # type: ignore[attr-defined]
        return 0


@pytest.mark.parametrize(("status", "gpus", "count"), [(0, 2, 2), (100, 2, 0)])
def test_driver_is_asked_for_its_gpus(
    monkeypatch: pytest.MonkeyPatch, status: int, gpus: int, count: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _Driver(status, gpus))
    assert devices.cuda_device_count() == count


def test_no_driver_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert devices.cuda_device_count() is None


def test_a_search_for_libraries_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among the answers of a command it would be taken for one of them."""
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublasLt.so"))
    devices._preload.__wrapped__()
    assert capsys.readouterr().out == ""

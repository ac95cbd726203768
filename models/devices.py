"""Which device runs a model, and why: `auto`, `cpu`, `cuda`, `cuda:1`, or another provider by name."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import re
import sys
from dataclasses import dataclass

import onnxruntime

from models.errors import DeviceError
from models.extras import how_to_install

# Device name -> onnxruntime execution provider. All but the first two are used only when asked for by name.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_NVIDIA = ("cuda", "tensorrt")


@dataclass(frozen=True)
class Device:
    """A device that can be had: its kind, its number, and why it was chosen."""

    kind: str
    index: int = 0
    reason: str = ""

    @property
    def provider(self) -> str:
        """onnxruntime's name of the execution provider."""
        return PROVIDERS[self.kind]

    def __str__(self) -> str:
        """`cpu`, `cuda:0`, ..."""
        return f"{self.kind}:{self.index}" if self.kind in _NVIDIA else self.kind


def parse_device(text: str) -> tuple[str, int]:
    """Split `cuda:1` into ("cuda", 1).

    Raises:
        DeviceError: not the name of a device.
    """
    match = re.fullmatch(r"([a-z]+)(?::(\d+))?", text.strip().lower())
    if match is None or match[1] not in ("auto", *PROVIDERS) or (match[2] and match[1] not in _NVIDIA):
        names = ", ".join(("auto", *PROVIDERS))
        raise DeviceError(
            f"device {text!r} is not known; expected one of {names}, or cuda:1 for the second GPU."
        )
    return match[1], int(match[2] or 0)


def choose_device(text: str = "auto") -> Device:
    """The device for `text`. `auto` takes CUDA where all of it is there, else the CPU, and says why.

    Raises:
        DeviceError: an unknown name, or a device that was asked for by name and cannot be had.
    """
    kind, index = parse_device(text)
    if kind == "cpu":
        return Device("cpu", reason="asked for")
    if kind == "auto":
        missing = missing_for_cuda(0)
        if missing:
            return Device("cpu", reason=f"no CUDA: {missing}")
        return Device("cuda", reason="a CUDA device and its libraries are there")
    if kind in _NVIDIA:
        missing = missing_for_cuda(index)
        if missing:
            raise DeviceError(f"device {text!r} cannot be had: {missing}. Or use --device cpu.")
    if PROVIDERS[kind] not in onnxruntime.get_available_providers():
        have = ", ".join(k for k, v in PROVIDERS.items() if v in onnxruntime.get_available_providers())
        raise DeviceError(
            f"device {text!r} cannot be had: the installed onnxruntime was built without {PROVIDERS[kind]}; "
            f"it has {have}. Install the onnxruntime package for that device."
        )
    return Device(kind, index, "asked for")


def missing_for_cuda(index: int) -> str | None:
    """The first piece that CUDA device `index` lacks, with what to do about it; None when all is there."""
    count = cuda_device_count()
    if count is None:
        return "no NVIDIA driver (libcuda cannot be loaded); install the driver of the GPU"
    if count == 0:
        return "the NVIDIA driver sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    if index >= count:
        return f"GPU {index} was asked for and the driver sees {count}, numbered from 0; check nvidia-smi"
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return "the installed onnxruntime is built for the CPU only; install onnxruntime-gpu in its place"
    library = _missing_library()
    if library:
        return f"{library} cannot be loaded; install the CUDA libraries with {how_to_install('cuda')}"
    return None


def cuda_device_count() -> int | None:
    """Number of GPUs that the NVIDIA driver sees, or None without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@functools.cache
def _preload() -> None:
    """Load the libraries that stand in Python packages, once: what other threads print meanwhile is lost."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses among our answers
        onnxruntime.preload_dlls()


def _missing_library() -> str | None:
    """Load onnxruntime's CUDA libraries from Python packages or the system; name the first that is not there."""
    major = str(getattr(onnxruntime, "cuda_version", "")).partition(".")[0]
    _preload()
    if sys.platform == "win32":
        return None
    for library in (f"libcudart.so.{major}", f"libcublasLt.so.{major}", "libcudnn.so.9"):
        try:
            ctypes.CDLL(library)
        except OSError:
            return library
    return None

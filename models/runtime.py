"""onnxruntime sessions: the one place where a model file meets a device."""

from __future__ import annotations

import functools
import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.config import RuntimeConfig as RuntimeConfig  # where most look for it
from models.devices import Device, choose_device
from models.errors import DeviceError, FeedError, ModelError
from models.per_shape import PerShape
from models.wording import first_line

Array = NDArray[Any]
_SPINNING = "session.intra_op.allow_spinning"
_CPP_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[A-Z])")
# How a file says of a weight that it stands in another: a key, and the tag of its value.
_ELSEWHERE = b"\n\x08location\x12"
# How a node's operator stands in a file: its tag in NodeProto, a length, a name.
_PADS_AND_POOLS = (b'"\x07MaxPool', b'"\x03Pad')


class OnnxSession:
    """An onnxruntime session with what is worth knowing about it.

    `run` may be called from several threads at once; onnxruntime allows it.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        config: RuntimeConfig | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        """Load a model file, or the bytes of one.

        `quiet`: what fails is only tried, and onnxruntime says nothing about it.

        Raises:
            DeviceError: the device was asked for by name and cannot be had.
            ModelError: not an ONNX model, or one that onnxruntime cannot run.
        """
        self.config = config or RuntimeConfig()
        self.device: Device = choose_device(self.config.device)
        self._per_shape: PerShape | None = None
        self.raw = self._opened(model, quiet)
        self.inputs = {value.name: value for value in self.raw.get_inputs()}
        self.outputs = [value.name for value in self.raw.get_outputs()]
        self.metadata: dict[str, str] = self.raw.get_modelmeta().custom_metadata_map

    def _opened(self, model: str | Path | bytes, quiet: bool) -> onnxruntime.InferenceSession:
        """The session, and on CUDA what makes others of the same bytes, whatever becomes of the file."""
        content = _content(model) if self.device.kind == "cuda" else None
        if content is None:
            return _create(model, self.config, self.device, quiet)
        another = functools.partial(_create, content, self.config, self.device, quiet)
        first = another()
        self._per_shape = PerShape(first, another)
        return first

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run once and return the outputs, in order.

        Raises:
            FeedError: a feed is missing, unknown, or has the wrong shape or dtype.
            ModelError: the network itself fails, out of memory included.
        """
        try:
            session = self._per_shape(feeds) if self._per_shape is not None else self.raw
            return list(session.run(outputs, feeds))
        except (ValueError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument) as exc:
            given = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in feeds.items())
            wanted = ", ".join(f"{name} {value.type}{value.shape}" for name, value in self.inputs.items())
            raise FeedError(f"the model was fed {given}; it takes {wanted}. ({_reason(exc)})") from exc
        except Exception as exc:  # onnxruntime has a dozen exception types without a common base
            raise ModelError(
                f"the model failed while running on {self.device} ({_reason(exc)}). Try a smaller batch, or "
                "--device cpu; if it fails on every image, export the model again."
            ) from exc


def _content(model: str | Path | bytes) -> bytes | None:
    """The bytes of a network, where they alone are all of it: no file of weights lies beside them."""
    if isinstance(model, bytes):
        return model
    path = Path(model)
    if not path.is_file():
        return None  # said when it is opened
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data[:] if data.find(_ELSEWHERE) < 0 else None


def _create(
    model: str | Path | bytes, config: RuntimeConfig, device: Device, quiet: bool
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Errors only; warnings about unused initializers help nobody here.
    options.log_severity_level = 4 if quiet else 3
    options.enable_mem_pattern = config.memory_pattern
    if not config.optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if config.threads is not None:
        options.intra_op_num_threads = config.threads
    # onnxruntime warns of what is said twice.
    for key, value in ({_SPINNING: str(int(config.spinning))} | dict(config.session_options)).items():
        options.add_session_config_entry(key, value)
    if config.profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(config.profile)
    providers: list[Any] = [(device.provider, provider_options(device, config))]
    if device.kind == "cuda":
        # At each session there, 1.31 warns of a kind of plug-in that nobody has asked for, by the logger of all.
        onnxruntime.set_default_logger_severity(3)
    if device.kind != "cpu":
        providers.append("CPUExecutionProvider")  # for shape arithmetic, which GPUs do not run
    where = "the model" if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=providers,
            disabled_optimizers=["Pad_Fusion"] if _pads_and_pools(model) else None,
        )
    except Exception as exc:  # onnxruntime has a dozen exception types without a common base
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise ModelError(f"{where}: no such file. Check the path.") from exc
        raise ModelError(
            f"{where}: onnxruntime {onnxruntime.__version__} cannot load it ({_reason(exc)}). "
            "Expected a valid ONNX file; export or download it again."
        ) from exc
    if session.get_providers()[0] != device.provider:
        raise DeviceError(
            f"{device} was chosen ({device.reason}), but onnxruntime fell back to {session.get_providers()[0]}. "
            "Run `graft doctor` to see what is missing, or use --device cpu."
        )
    return session


def _pads_and_pools(model: str | Path | bytes) -> bool:
    """Whether a network may have zeros put around a map of which maxima are taken.

    onnxruntime (seen in 1.31 and 1.32) folds such a Pad into the MaxPool behind it, whose own padding counts for
    nothing: wrong where a window holds negative numbers and zeros, as in ResNetV2.
    """
    if isinstance(model, bytes):
        return all(model.find(name) >= 0 for name in _PADS_AND_POOLS)
    try:
        with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(name) >= 0 for name in _PADS_AND_POOLS)
    except (OSError, ValueError):  # onnxruntime says what is wrong with it
        return False


def provider_options(device: Device, config: RuntimeConfig) -> dict[str, str]:
    """What the execution provider is told: the config's own, and what follows from device and threads."""
    defaults = {"device_id": str(device.index)} if device.kind in ("cuda", "tensorrt") else {}
    if device.kind == "cuda":
        # onnxruntime's own choice tries all ways to compute a convolution, five times as long, at each size of batch
        # that is new; what cuDNN takes unasked was as fast or faster (`benchmarks.convolution_search`).
        defaults["cudnn_conv_algo_search"] = "HEURISTIC"
        # Ten bits of a number are too few: scores of finished models came out 3 % off, by how many images ran at once.
        defaults["use_tf32"] = "0"
    if device.kind == "openvino" and config.threads is not None:  # it has threads of its own
        defaults["num_of_threads"] = str(config.threads)
    return defaults | dict(config.provider_options)


def _reason(exc: Exception) -> str:
    """What onnxruntime says, without the place in its source: a file, a line and a C++ signature."""
    return first_line(Exception(_CPP_PLACE.sub("", str(exc)))) if str(exc) else type(exc).__name__


def zeros(session: OnnxSession, batch: int) -> dict[str, Array]:
    """Feeds of zeros for every input, with `batch` in place of unknown sizes."""
    kinds = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    return {
        name: np.zeros(
            [size if isinstance(size, int) else batch for size in value.shape],
            kinds.get(value.type, np.float32),
        )
        for name, value in session.inputs.items()
    }

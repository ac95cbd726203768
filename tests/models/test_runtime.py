"""Sessions: what they take, and what they say when it is something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, save

from models.devices import Device
from models.errors import DeviceError, FeedError, ModelError
from models.runtime import OnnxSession, RuntimeConfig, provider_options, zeros

CPU = RuntimeConfig(device="cpu", threads=1)


def test_session_tells_inputs_outputs_and_metadata(tiny_path: Path) -> None:
    session = OnnxSession(tiny_path, CPU)
    assert list(session.inputs) == ["image"]
    assert session.outputs == ["logits", "probabilities"]
    assert "graft.card" in session.metadata
    assert str(session.device) == "cpu"


@pytest.mark.parametrize(("config", "allowed"), [(None, "0"), (RuntimeConfig(spinning=True), "1")])
def test_threads_rest_unless_told_otherwise(
    tiny_path: Path, config: RuntimeConfig | None, allowed: str
) -> None:
    options = OnnxSession(tiny_path, config).raw.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == allowed


def test_path_and_bytes_give_the_same(tiny_path: Path) -> None:
    batch = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    results = [OnnxSession(model, CPU).run({"image": batch}) for model in (tiny_path, tiny_path.read_bytes())]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_outputs_are_chosen_by_name(tiny_path: Path) -> None:
    session = OnnxSession(tiny_path, CPU)
    (only,) = session.run(zeros(session, 3), ["probabilities"])
    np.testing.assert_allclose(only, np.full((3, 3), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"picture": np.zeros((1, 16, 16, 3), np.uint8)},
        {"image": np.zeros((1, 16, 16, 3), np.float32)},
        {"image": np.zeros((1, 8, 16, 3), np.uint8)},
        {"image": np.zeros((16, 16, 3), np.uint8)},
    ],
    ids=["nothing", "name", "dtype", "shape", "rank"],
)
def test_wrong_feed_says_what_is_taken(tiny_path: Path, feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(FeedError, match=r"it takes image tensor\(uint8\)\['N', 16, 16, 3\]"):
        OnnxSession(tiny_path, CPU).run(feeds)


def test_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    with pytest.raises(
        ModelError, match=r"text\.onnx: onnxruntime .* cannot load it .*Expected a valid ONNX file"
    ):
        OnnxSession(path, CPU)
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        OnnxSession(tmp_path / "gone.onnx", CPU)
    with pytest.raises(ModelError, match=r"the model: onnxruntime .* cannot load it"):
        OnnxSession(b"no model", CPU)


def test_reason_is_told_without_the_place_in_the_source_of_onnxruntime(tmp_path: Path) -> None:
    graph = helper.make_graph([], "g", [], [])
    path = tmp_path / "future.onnx"
    save(helper.make_model(graph, ir_version=99), path)
    with pytest.raises(ModelError, match=r"failed:Unsupported model IR version: 99, max supported"):
        OnnxSession(path, CPU)


def test_device_that_onnxruntime_does_not_give_is_an_error(tiny_path: Path) -> None:
    with pytest.raises(DeviceError, match="device 'openvino' cannot be had"):
        OnnxSession(tiny_path, RuntimeConfig(device="openvino"))


def test_openvino_is_told_how_many_threads_it_may_have() -> None:
    options = provider_options(Device("openvino"), RuntimeConfig("openvino", 3))
    assert options == {"num_of_threads": "3"}
    given = RuntimeConfig("openvino", 3, provider_options={"num_of_threads": "1", "device_type": "CPU"})
    assert provider_options(Device("openvino"), given) == {"num_of_threads": "1", "device_type": "CPU"}
    assert provider_options(Device("openvino"), RuntimeConfig("openvino")) == {}
    assert provider_options(Device("cpu"), RuntimeConfig("cpu", 3)) == {}


def test_profile_is_written_where_it_is_asked_for(tiny_path: Path, tmp_path: Path) -> None:
    session = OnnxSession(tiny_path, RuntimeConfig(device="cpu", profile=tmp_path / "profile"))
    session.run(zeros(session, 1))
    session.raw.end_profiling()
    assert list(tmp_path.glob("profile*.json"))


def test_cuda_is_exact_and_tries_not_all_ways_to_convolve() -> None:
    assert provider_options(Device("cuda", 1), RuntimeConfig("cuda:1")) == {
        "device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0",
    }  # fmt: skip
    given = {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "1"}
    assert provider_options(Device("cuda"), RuntimeConfig("cuda", provider_options=given)) == {
        "device_id": "0", **given,
    }  # fmt: skip

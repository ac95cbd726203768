"""A session for each shape of feeds, as CUDA needs them; here on the CPU."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models import runtime
from models.devices import Device
from models.per_shape import PerShape
from models.runtime import OnnxSession, RuntimeConfig

CPU = RuntimeConfig("cpu", 1)


def images(count: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)}


def test_a_shape_keeps_its_session_and_many_share_one(tiny_path: Path) -> None:
    made = [OnnxSession(tiny_path, CPU).raw for _ in range(8)]
    waiting = iter(made[1:])
    sessions = PerShape(made[0], lambda: next(waiting))
    assert [sessions(images(n)) for n in (1, 2, 1, 2)] == [made[0], made[1], made[0], made[1]]
    assert [sessions(images(n)) for n in range(3, 8)] == made[2:7]
    assert [sessions(images(n)) for n in (8, 9, 30, 8)] == [made[7]] * 4
    assert [sessions(images(n)) for n in (1, 7)] == [made[0], made[6]]


@pytest.fixture
def as_if_cuda(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let sessions take themselves for ones on CUDA. Returns what is opened."""
    opened: list[object] = []
    create = runtime._create

    def noting(model: object, config: RuntimeConfig, device: Device, quiet: bool) -> object:
        opened.append(model)
        return create(model, config, Device("cpu"), quiet)  # type: ignore[arg-type]

    monkeypatch.setattr(runtime, "choose_device", lambda text: Device("cuda"))
    monkeypatch.setattr(runtime, "_create", noting)
    return opened


def test_other_sessions_are_of_the_same_bytes(
    as_if_cuda: list[object], tiny_path: Path, tmp_path: Path
) -> None:
    """A service's file may be exchanged for another version at any time."""
    file = tmp_path / "model.onnx"
    file.write_bytes(tiny_path.read_bytes())
    session = OnnxSession(file, CPU)
    file.write_bytes(b"something else")
    expected = OnnxSession(tiny_path, CPU).run(images(3))[0]
    for count in (1, 2, 3, 2):
        np.testing.assert_allclose(session.run(images(count))[0], expected[:count], rtol=1e-5)
    assert as_if_cuda.count(tiny_path.read_bytes()) == 4  # and one for what is expected


def test_sessions_are_let_go_of_at_once(as_if_cuda: list[object], tiny_path: Path) -> None:
    """The memory of a GPU cannot wait until Python looks for circles."""
    session = OnnxSession(tiny_path, CPU)
    for count in (1, 2):
        session.run(images(count))
    gone = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert gone() is None
    finally:
        gc.enable()


def test_weights_in_another_file_are_read_from_there(
    as_if_cuda: list[object], tiny_path: Path, tmp_path: Path
) -> None:
    """There one session takes all shapes: its bytes alone are not the network."""
    file = tmp_path / "large.onnx"
    model = onnx.load(tiny_path)
    for weight in model.graph.initializer:  # only what is raw is put elsewhere; axes have to stay
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32:
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    session = OnnxSession(file, CPU)
    assert [session.run(images(count))[0].shape[0] for count in (1, 2)] == [1, 2]
    assert as_if_cuda == [file]

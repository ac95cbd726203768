"""A file is asked for the answers that it carries before it is served: at the start, in a swap, in a watched folder."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from models.errors import ModelError
from models.proof_making import write_proof
from service.app import create_app
from service.config import ServiceConfig
from service.registry import Registry
from service.sources import Source
from service.watching import Watcher
from tests.fixtures import tiny_classifier
from tests.service.running import Run


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A file that carries its answers."""
    path = tiny_classifier(tmp_path / "sound.onnx")
    proto = onnx.load(path)
    write_proof(proto)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def broken(sound: Path) -> Path:
    """The same file with a weight that was changed behind its answers."""
    proto = onnx.load(sound)
    (weight,) = [one for one in proto.graph.initializer if one.name == "sharpness"]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 2, "sharpness"))
    path = sound.with_name("broken.onnx")
    path.write_bytes(proto.SerializeToString())
    return path


def registry_of(config: ServiceConfig, *models: Path, **settings: bool) -> Registry:
    registry = Registry(dataclasses.replace(config, models=tuple(map(str, models)), **settings))
    registry.load()
    return registry


def test_what_came_of_it_stands_with_the_model(config: ServiceConfig, sound: Path, tiny_path: Path) -> None:
    registry = registry_of(config, sound, tiny_path)
    client = create_app(registry=registry).test_client()
    details = client.get("/v1/models/sound").get_json()
    assert details["proof"] == "holds"
    assert details["proof_note"] == "8 stored inputs give the stored answers to 0; 0.0001 is allowed"
    assert client.get("/v1/models/tiny").get_json()["proof"] == "none"
    registry.close()


def test_a_file_that_computes_differently_is_not_served(config: ServiceConfig, broken: Path) -> None:
    with pytest.raises(
        ModelError, match=r"broken\.onnx: computes differently on this machine \(cpu\): input \d of 8"
    ):
        registry_of(config, broken)


def test_no_proof_serves_it_and_says_so(
    config: ServiceConfig, broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "graft"):
        registry = registry_of(config, broken, no_proof=True)
    assert "served all the same, because no_proof is set" in caplog.text
    details = create_app(registry=registry).test_client().get("/v1/models/broken").get_json()
    assert details["proof"] == "failed"
    assert "expected" in details["proof_note"]
    registry.close()


def test_a_hot_swap_to_it_is_refused_and_the_old_version_goes_on(
    config: ServiceConfig, sound: Path, broken: Path
) -> None:
    registry = registry_of(config, sound)
    before = registry.get("sound")
    with pytest.raises(ModelError, match="computes differently"):
        registry.open(Source("sound", 1, str(broken)))
    assert registry.get("sound") is before
    registry.close()


def test_in_a_watched_folder_the_old_version_goes_on(
    config: ServiceConfig, sound: Path, broken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(sound, folder / "model1.onnx")
    registry = registry_of(config, folder)
    messages: list[str] = []
    watcher = Watcher(registry, [folder], lambda text, **_: messages.append(text))
    before = registry.get("model1")
    shutil.copy(broken, folder / "model1.onnx")
    os.utime(folder / "model1.onnx", (1, 1))
    watcher.look()
    watcher.look()
    assert registry.get("model1") is before
    (message,) = messages
    assert "computes differently on this machine" in message
    assert message.endswith("; the one that was served before goes on")
    registry.close()


def test_check_and_doctor_show_it(graft: Run, sound: Path, broken: Path, tiny_path: Path) -> None:
    checked = graft("serve", "--check", "--device", "cpu", sound, tiny_path)
    assert checked.exit_code == 0
    assert "proof: holds" in checked.stdout
    assert "proof: none" in checked.stdout
    refused = graft("serve", "--check", "--device", "cpu", broken)
    assert refused.exit_code == 2
    assert "computes differently" in refused.stderr
    forced = graft("serve", "--check", "--device", "cpu", "--no-proof", broken)
    assert forced.exit_code == 0
    assert "Warning: served all the same" in forced.stderr
    assert "proof: failed" in forced.stdout
    well = graft("doctor", "--device", "cpu", sound)
    assert "proof: holds" in " ".join(well.stdout.split())
    ill = graft("doctor", "--device", "cpu", broken)
    assert ill.exit_code == 1
    assert "computes differently" in " ".join(ill.stdout.split())

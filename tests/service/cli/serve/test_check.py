"""`graft serve --check`: what would be served, where each setting comes from, and whether it would work."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from service.config import service_settings
from tests.fixtures import tiny_classifier
from tests.service.running import Run


@pytest.fixture(autouse=True)
def _no_port_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)


def test_models_and_every_setting_with_its_origin(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "graft.toml"
    file.write_text(f'models = ["cats={tiny_path}"]\nmax_images = 8\n', encoding="utf-8")
    result = graft("serve", "--config", file, "--check", "--device", "cpu", "--label", "stable=cats:1",
                   env={"GRAFT_SERVE_PORT": "81"})  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Would listen on 127.0.0.1 port 81" in result.stdout
    assert re.search(r"^  cats +version 1 +classification, 3 classes, on cpu", result.stdout, re.M)
    assert re.search(r"^  max_images +\S+graft\.toml +8$", result.stdout, re.M)
    assert re.search(r"^  port +GRAFT_SERVE_PORT +81$", result.stdout, re.M)
    assert re.search(r"^  device +command line +cpu$", result.stdout, re.M)
    assert re.search(r"^  labels +command line +stable=cats:1$", result.stdout, re.M)
    assert re.search(r"^  timeout_s +default +30$", result.stdout, re.M)
    settings = result.stdout.partition("\nsettings\n")[2]
    assert re.findall(r"^  (\w+)", settings, re.M) == list(service_settings())


def test_grpc(graft: Run, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("serve", tiny_path, "--check", "--device", "cpu", "--port", 81, "--grpc-port")
    result = graft(*arguments, 82)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Would listen on 127.0.0.1 port 82, gRPC" in result.stdout
    result = graft(*arguments, 81)
    assert result.exit_code == 2
    assert "port and grpc_port are both 81; HTTP and gRPC need a port each." in " ".join(
        result.stderr.split()
    )
    monkeypatch.setitem(sys.modules, "service.grpc.server", None)
    result = graft(*arguments, 82)
    assert result.exit_code == 2
    assert "gRPC needs grpcio and protobuf, which are not installed" in " ".join(result.stderr.split())


def test_teaching(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    arguments = ("serve", tiny_path, "--check", "--device", "cpu", "--workspace")
    result = graft(*arguments, tmp_path / "new", "--datasets-root", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"Would teach in {tmp_path / 'new'}: whoever works at this machine" in result.stdout
    assert not (tmp_path / "new").exists()
    result = graft(*arguments, tmp_path / "new", "--host", "0.0.0.0")
    assert "nobody: it needs --tokens FILE" in result.stdout
    (tmp_path / "file").write_text("in the way")
    result = graft(*arguments, tmp_path / "file", "--datasets-root", tmp_path / "gone")
    assert result.exit_code == 2
    assert "no folder; --datasets-root takes folders that exist" in " ".join(result.stderr.split())
    assert result.stderr.count("Error: ") == 2


def test_all_that_would_fail_is_said_and_is_code_2(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    result = graft("serve", "--check", tmp_path / "text.onnx", tiny_path, tmp_path / "gone.onnx")
    assert result.exit_code == 2
    assert re.search(r"^  tiny +version 1 +classification", result.stdout, re.M)
    assert re.search(r"^  gone +version 1 +fails", result.stdout, re.M)
    assert result.stderr.count("Error: ") == 2
    assert "text.onnx: onnxruntime" in result.stderr
    assert "gone.onnx: no such file" in result.stderr


def test_a_setting_that_is_none_is_code_2(graft: Run) -> None:
    result = graft("serve", "--check", env={"GRAFT_SERVE_PROT": "1"})
    assert result.exit_code == 2
    assert "Did you mean GRAFT_SERVE_PORT?" in result.stderr


def test_a_label_of_a_version_that_is_not_there_is_code_2(graft: Run, tiny_path: Path) -> None:
    result = graft("serve", "--check", tiny_path, "--label", "stable=tiny:2")
    assert result.exit_code == 2
    assert "Error: the label stable=tiny:2 stands for a version that is not served." in result.stderr


def test_shadows_that_cannot_be_are_said(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    larger = tiny_classifier(tmp_path / "larger.onnx", size=32)
    entries = (f"cats={tiny_path}", f"dogs={tiny_path}", larger)
    assert graft("serve", "--check", "--device", "cpu", *entries, "--shadow", "cats=dogs").exit_code == 0
    for entry, reason in (
        ("cats=birds", "the shadow cats=birds cannot be: birds is not served"),
        ("cats=cats:1", "the shadow cats=cats:1 cannot be: a model answers itself"),
        ("cats=larger", "takes images like this: squashed to 32 x 32 pixels"),
        ("cats", "expected NAME=MODEL"),
    ):
        result = graft("serve", "--check", "--device", "cpu", *entries, "--shadow", entry)
        assert (result.exit_code, reason in " ".join(result.stderr.split())) == (2, True), result.stderr

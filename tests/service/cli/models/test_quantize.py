"""`graft models quantize`: the report, the file, and the refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.agreement import VersionComparison
from models.importing import import_model
from models.model import Model
from models.proof import largest_gap, read_proof
from tests.fixtures import encoded, photo
from tests.models.nets import residual_net
from tests.service.running import Run


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network and photos, one of them broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for seed in range(12):
        (tmp_path / "photos" / f"{seed:02}.png").write_bytes(encoded(photo(seed=seed)))
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    model, _ = import_model(residual_net(tmp_path / "net.onnx"))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return tmp_path


def test_report_and_file(graft: Run, setting: Path) -> None:
    result = graft(
        "models", "quantize", "net.onnx", "--calibrate", "photos", "--threshold", "0", "--images", 6
    )
    assert result.exit_code == 0, result.stderr
    assert "times smaller" in result.stdout
    assert "have the same best class" in result.stdout
    assert "broken.png" in result.stderr
    made = Model.open(setting / "net.int8.onnx")
    assert made.card.name == "net.int8"
    proof = read_proof(made.session.metadata)
    assert proof is not None
    assert proof.precision == "int8"
    assert largest_gap(made, proof).holds
    assert graft("features", "photos/00.png", "-m", "net.int8.onnx", "-o", "out").exit_code == 0


def test_json(graft: Run, setting: Path) -> None:
    result = graft(
        "models",
        "quantize",
        "net.onnx",
        "--calibrate",
        "photos",
        "--json",
        "--force",
        "-o",
        setting / "small.onnx",
    )
    values = json.loads(result.stdout)
    assert values["output"] == str(setting / "small.onnx")
    assert 0 <= values["agreement"] <= 1
    assert values["bytes_after"] == (setting / "small.onnx").stat().st_size


def test_version_that_is_too_far_off_is_not_written(
    graft: Run, setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = VersionComparison(5, 0.6, 0.99, 0.98, 10.0, 20.0)
    monkeypatch.setattr("service.cli.models.quantize.compare", lambda *_: poor)
    arguments = ["models", "quantize", "net.onnx", "--calibrate", "photos", "--threshold", "0.7"]
    result = graft(*arguments)
    assert result.exit_code == 2
    assert "the int8 version reaches 0.600 in agreement; expected 0.7 at least" in result.stderr
    assert sorted(path.name for path in setting.iterdir()) == ["net.onnx", "photos"]
    assert graft(*arguments, "--force").exit_code == 0
    assert (setting / "net.int8.onnx").exists()


def test_features_of_an_int8_version_resume_with_the_same_version(graft: Run, setting: Path) -> None:
    arguments = ["features", "photos", "-m", "net.onnx", "--quantize", "--json", "--out"]
    result = graft(*arguments, "out")
    assert result.exit_code == 1  # one is broken
    assert json.loads(result.stdout)["model"] == "net.int8"
    assert graft(*arguments, "out", "--resume").exit_code == 1
    graft(*arguments, "again")
    assert (setting / "out" / "manifest.jsonl").read_bytes() == (
        setting / "again" / "manifest.jsonl"
    ).read_bytes()
    refused = graft("features", "-", "-m", "net.onnx", "--quantize", "-o", "other", input=b"")
    assert refused.exit_code == 2
    assert "can be read only once" in refused.stderr

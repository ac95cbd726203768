"""`graft report`: the page of a run that was made without one, later, and the same file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.finetune.shades import folder_of
from tests.service.running import Run

QUICK = ("--views", "1", "--epochs", "3", "--learning-rate", "0.05", "--device", "cpu", "--threads", "1")


def test_a_report_is_made_later(
    graft: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    done = graft("finetune", "photos", "-m", tiny_path, *QUICK, "--no-report", "--out", "mine", "--json")
    assert json.loads(done.stdout)["page"] is None
    mine = tmp_path / "mine"
    assert not (mine / "report.html").exists()
    before = json.loads((mine / "report.json").read_text())
    assert before["learning_curve"] is None
    assert before["proof"]["images"] > 0
    model = (mine / "model.onnx").read_bytes()

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made = graft("report", mine)
    assert made.exit_code == 0, made.stderr
    assert (mine / "report.html").is_file()
    after = json.loads((mine / "report.json").read_text())
    assert len(after["learning_curve"]["points"]) > 0
    assert after["classification"]["accuracy"] == before["classification"]["accuracy"]
    assert (mine / "model.onnx").read_bytes() == model
    assert not (mine / "work").exists()

    again = graft("report", mine)
    assert again.exit_code == 2
    assert "has its report already" in again.stderr


def test_a_second_run_says_how_the_first_gets_its_page(
    graft: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    graft("finetune", "photos", "-m", tiny_path, *QUICK, "--no-report")
    second = graft("finetune", "photos", "-m", tiny_path, *QUICK, "--no-report")
    assert "`graft report photos-model` makes" in " ".join(second.stderr.split())


def test_what_is_no_run_is_refused(graft: Run, tmp_path: Path) -> None:
    refused = graft("report", tmp_path)
    assert refused.exit_code == 2
    assert "graft finetune --no-report" in refused.stderr

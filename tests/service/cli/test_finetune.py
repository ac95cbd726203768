"""`graft finetune`: from a folder to a file that the other commands take, and options that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.folder import free_folder
from tests.finetune.shades import SHADES, folder_of, shade
from tests.finetune.test_run import Blank, Proof
from tests.service.running import Run

QUICK = ("--views", "1", "--epochs", "5", "--learning-rate", "0.05", "--device", "cpu", "--threads", "1")


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process."""
    monkeypatch.setattr(
        "finetune.run.prove", lambda path, images, expected: Proof(len(images), 0.0, {}, 1e-4)
    )
    monkeypatch.setattr("finetune.report.page.plots", Blank())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "shades", 12)


def test_teach_then_classify_and_evaluate(graft: Run, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = graft("finetune", photos, "-m", tiny_path, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert "test images" in result.stdout
    assert f"graft classify --model {out / 'model.onnx'}" in result.stdout
    shade(SHADES["grass"], 77).save(tmp_path / "lawn.jpg")
    answer = graft("classify", "-m", out / "model.onnx", tmp_path / "lawn.jpg", "--json")
    assert json.loads(answer.stdout)["predictions"][0]["label"] == "grass"
    measured = graft("evaluate", "-m", out / "model.onnx", photos, "--json")
    assert json.loads(measured.stdout)["top1"] > 0.9


def test_json_is_the_report(graft: Run, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = graft("finetune", photos, "-m", tiny_path, "--out", out, "--json", "--method", "sklearn")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert Path(values["path"]).is_file()
    assert values["classification"]["accuracy"]["value"] > 0.9


def test_the_folder_is_named_after_the_source(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("shades-model", "shades-model-2"):
        assert graft("finetune", photos, "-m", tiny_path, *QUICK).exit_code == 0
        assert (tmp_path / expected / "model.onnx").is_file()
    assert free_folder(tmp_path / "shades-model") == tmp_path / "shades-model-3"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "sklearn", "--epochs", "3"], "--epochs: for --method head or blocks"),
        (["--hidden", "many"], "expected whole numbers with commas"),
        (["--optimizer", "magic"], "expected one of"),
        (["--unfreeze", "pool"], "for --method blocks"),
    ],
)
def test_options_that_do_not_go_together(
    graft: Run, photos: Path, tiny_path: Path, options: list[str], words: str, tmp_path: Path
) -> None:
    result = graft("finetune", photos, "-m", tiny_path, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_without_classes(graft: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    shade(SHADES["sky"], 1).save(tmp_path / "photos" / "one.jpg")
    result = graft("finetune", tmp_path / "photos", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "folder" in result.stderr

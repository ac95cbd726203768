"""`graft finetune`: from a folder to a file that the other commands take, and options that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest

from finetune.job.folder import free_folder
from models.errors import InputError
from models.model import Model
from service.cli.finetune.command import command
from tests.finetune.brief import shorten
from tests.finetune.shades import SHADES, folder_of, shade
from tests.service.running import Run

QUICK = ("--views", "1", "--epochs", "5", "--learning-rate", "0.05", "--device", "cpu", "--threads", "1")


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process."""
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "shades", 12)


def test_teach_then_classify_and_evaluate(graft: Run, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = graft("finetune", photos, "-m", tiny_path, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    assert "each asked of one" in result.stdout
    assert f"graft classify --model {out / 'model.onnx'}" in result.stdout
    shade(SHADES["grass"], 77).save(tmp_path / "lawn.jpg")
    answer = graft("classify", "-m", out / "model.onnx", tmp_path / "lawn.jpg", "--json")
    assert json.loads(answer.stdout)["predictions"][0]["label"] == "grass"
    measured = graft("evaluate", "-m", out / "model.onnx", photos, "--json")
    assert json.loads(measured.stdout)["top1"] > 0.9


def test_the_built_in_network_says_what_another_would_bring(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise InputError("that is far enough")

    monkeypatch.setattr("finetune.job.run.finetune", stop)
    said = " ".join(graft("finetune", photos, "--out", tmp_path / "a").stderr.split())
    assert f"graft finetune {photos} --model mobilenet_v2" in said
    assert said.count("one download of 14.0 MB") == 1
    assert "MobileNetV2" not in graft("finetune", photos, "-m", tiny_path, "--out", tmp_path / "b").stderr
    assert "MobileNetV2" not in graft("finetune", photos, "--out", tmp_path / "c", "--resume").stderr


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
    for expected, note in (
        ("shades-model", ""),
        ("shades-model-2", "shades-model holds a run that has finished. "),
    ):
        result = graft("finetune", photos, "-m", tiny_path, *QUICK)
        assert result.exit_code == 0
        assert (tmp_path / expected / "model.onnx").is_file()
        assert f"{note}This run is written to {expected}." in result.stderr or not note
    assert free_folder(tmp_path / "shades-model") == tmp_path / "shades-model-3"


def test_a_name_with_dots_stays_whole(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, tmp_path / "photos.v1.2")
    result = graft("finetune", "photos.v1.2", "-m", tiny_path, *QUICK, "--json")
    assert json.loads(result.stdout)["path"] == "photos.v1.2-model/model.onnx"
    assert Model.open("photos.v1.2-model/model.onnx").card.name == "photos.v1.2"


def test_unfinished_run_is_named_where_another_begins(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shades-model" / "work").mkdir(parents=True)
    (tmp_path / "shades-model" / "run.json").write_text("{}")
    result = graft("finetune", photos, "-m", tiny_path, *QUICK)
    assert (
        "shades-model holds a run that has not finished; the same command with --out shades" in result.stderr
    )


def test_mistakes_put_right_are_given_back(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    """Grass among the sky of the test: labels that are wrong, and answers that are right."""
    source = tmp_path / "photos"
    for split, count, first in (("train", 8, 0), ("val", 4, 20), ("test", 4, 40)):
        for name, colour in SHADES.items():
            (source / split / name).mkdir(parents=True)
            for i in range(first, first + count):
                shade(colour, i).save(source / split / name / f"{i}.png")
    for i in (60, 61):
        shade(SHADES["grass"], i).save(source / "test" / "sky" / f"{i}.png")
    first = graft("finetune", source, "-m", tiny_path, "--out", tmp_path / "first", *QUICK)
    assert first.exit_code == 0, first.output
    table = tmp_path / "first" / "mistakes.csv"
    lines = table.read_text().splitlines()
    assert [line.split(",")[:3] for line in sorted(lines[1:])] == [
        [f"test/sky/{i}.png", "sky", "grass"] for i in (60, 61)
    ]
    table.write_text("\n".join([lines[0], lines[1] + "grass", lines[2] + "drop"]))
    given = ("finetune", source, "-m", tiny_path, "--corrections", table, *QUICK)
    second = graft(*given, "--out", tmp_path / "second")
    assert second.exit_code == 0, second.output
    assert "1 image relabelled, 1 dropped, by the corrections" in " ".join(second.stderr.split())
    assert "Compared with the earlier run (head on" in " ".join(second.stdout.split())
    report = json.loads((tmp_path / "second" / "report.json").read_text())
    assert report["classification"]["accuracy"]["value"] == 1
    assert report["classification"]["comparison"]["previous"] == {
        "count": 13, "images": 13, "value": 1.0, "interval": report["classification"]["accuracy"]["interval"],
    }  # fmt: skip
    assert len((tmp_path / "second" / "mistakes.csv").read_text().splitlines()) == 1
    both = graft(*given, "--previous", tmp_path / "first" / "model.onnx", "--out", tmp_path / "third")
    assert both.exit_code == 2
    assert "Leave one of them out" in both.stderr
    (tmp_path / "first" / "report.json").unlink()
    alone = graft(*given, "--out", tmp_path / "third")
    assert "not compared with anything" in " ".join(alone.stderr.split())
    assert "Compared with" not in alone.stdout


def test_a_clean_list_kept_elsewhere(graft: Run, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    lines = graft("dataset", "clean", photos, "--no-model", "--out", tmp_path / "clean.csv")
    assert lines.exit_code == 0, lines.output
    words = ("finetune", tmp_path / "clean.csv", "-m", tiny_path, "--out", tmp_path / "out", *QUICK)
    refused = graft(*words)
    assert refused.exit_code == 2
    assert "allow it with --outside" in refused.stderr
    allowed = graft(*words, "--outside")
    assert allowed.exit_code == 0, allowed.output
    whole = graft("finetune", photos, "-m", tiny_path, "--out", tmp_path / "whole", "--json", *QUICK)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["data"]["images"] == json.loads(whole.stdout)["data"]["images"]  # the same split


def test_a_run_that_could_not_begin_leaves_its_name_free(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert graft("finetune", photos, "-m", tiny_path, "--cut", "nowhere").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_was_asked_is_answered(graft: Run, photos: Path, tiny_path: Path, tmp_path: Path) -> None:
    words = ("finetune", photos, "-m", tiny_path, *QUICK)
    first = graft(*words, "--out", tmp_path / "first")
    assert "Compared with" not in first.stdout
    assert "None of these" not in first.stdout
    strangers = folder_of(tmp_path / "strangers", 5, {"ink": (5, 5, 5)})
    asked = ("--previous", tmp_path / "first" / "model.onnx", "--unknown", strangers)
    second = graft(*words, "--out", tmp_path / "second", *asked)
    printed = " ".join(second.stdout.split())
    assert "Compared with shades: Both models are right and wrong on the same images" in printed
    assert "of 5 unknown images are told so, and" in printed
    assert "(AUROC 1.000)" in printed


def test_interrupted_outside_of_training_says_how_to_go_on(
    graft: Run, photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    words = ("finetune", photos, "-m", tiny_path, "--out", tmp_path / "my out", *QUICK)
    with monkeypatch.context() as patched:
        patched.setattr("finetune.job.run.assess", pressed)
        result = graft(*words)
    assert result.exit_code == 130
    assert f"--out '{tmp_path / 'my out'}' --resume" in result.stderr
    assert graft(*words, "--resume").exit_code == 0
    with monkeypatch.context() as patched:
        patched.setattr("finetune.job.run.scan", pressed)
        result = graft("finetune", photos, "-m", tiny_path, "--out", tmp_path / "early", *QUICK)
    assert (result.exit_code, result.stderr) == (130, "looking at the images: 36\n")
    assert not (tmp_path / "early").exists()


def test_help_has_a_heading_for_every_option(graft: Run) -> None:
    shown = graft("finetune", "--help").stdout
    headings = ("What learns:", "Images:", "Trust:", "Training (head and blocks):", "Running:")
    places = [shown.index(heading) for heading in headings]
    assert places == sorted(places)
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.opts[-1] in shown
    assert places[0] < shown.index("--method") < places[1] < shown.index("--outside") < places[2]
    assert places[2] < shown.index("--unknown") < places[3] < shown.index("--epochs") < places[4]
    assert places[4] < shown.index("--resume")
    assert "SOURCE" not in shown[places[4] :].replace("SOURCE's", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "sklearn", "--epochs", "3"], "--epochs: for --method head or blocks"),
        (["--hidden", "many"], "expected whole numbers from 1, with commas"),
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

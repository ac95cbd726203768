"""`graft evaluate`: the figures as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.dataset.examples import Dataset
from tests.finetune.brief import without_plots
from tests.finetune.dataset.samples import SOURCES, jpeg, write
from tests.fixtures import COLOURS, plain
from tests.service.running import Run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, count in (("train", 1), ("val", 2)):
        for name in COLOURS:
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.png").write_bytes(plain(name))
    return tmp_path / "data"


def test_text(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red" / "wrong.png").write_bytes(plain("blue"))
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val")
    assert result.exit_code == 0
    assert f"tiny on {data}, split val\n  7 images of 3 classes, 0 could not be read\n" in result.stdout
    assert "top-1  85.71 %  95 % confidence: 48.69 to 97.43 %" in result.stdout
    assert "top-5" not in result.stdout


def test_json_has_every_class(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red" / "broken.png").write_bytes(b"broken")
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val", "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert (values["model"], values["split"], values["images"], values["top1"]) == ("tiny", "val", 6, 1.0)
    assert values["classes"][0] == {"id": "c0", "label": "red", "images": 2, "correct": 2}
    assert values["failed"][0]["image"].endswith("broken.png")
    assert "broken.png: not an image" in result.stderr


def test_split_that_was_forgotten_is_asked_for(graft: Run, tiny_path: Path, data: Path) -> None:
    result = graft("evaluate", "-m", tiny_path, data)
    assert result.exit_code == 2
    assert "has the splits train, val. Choose one of them with --split" in result.stderr


def test_classes_of_another_model_are_named(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red").rename(data / "val" / "pink")
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val")
    assert result.exit_code == 2
    assert "Error: pink: no such class in tiny" in result.stderr


@pytest.mark.parametrize("kind", SOURCES)
def test_takes_what_finetune_takes(
    graft: Run, tiny_path: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Dataset] = []
    monkeypatch.setattr("finetune.job.run.finetune", lambda dataset, *_, **__: opened.append(dataset))
    source, split = SOURCES[kind](tmp_path)
    graft("finetune", source, "-m", tiny_path, "--out", tmp_path / "out")
    (dataset,) = opened
    result = graft("evaluate", "-m", tiny_path, source, "--json", *(("--split", split) if split else ()))
    assert result.exit_code == 0, result.stderr
    expected = sum(split is None or example.split == split for example in dataset.examples)
    assert json.loads(result.stdout)["images"] == expected > 0


def test_list_from_elsewhere_is_allowed(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    write(tmp_path, {"red.jpg": jpeg(1), "in/l.csv": b"path,label\n../red.jpg,red\n"})
    result = graft("evaluate", "-m", tiny_path, tmp_path / "in" / "l.csv")
    assert (result.exit_code, "--outside" in result.stderr) == (2, True)
    assert graft("evaluate", "-m", tiny_path, tmp_path / "in" / "l.csv", "--outside").exit_code == 0


def test_each_class_is_listed(graft: Run, tiny_path: Path, data: Path) -> None:
    (data / "val" / "red" / "wrong.png").write_bytes(plain("blue"))
    lines = graft("evaluate", "-m", tiny_path, data, "--split", "val").stdout.splitlines()
    listed = [line.split() for line in lines[lines.index("  classes") + 1 :]]
    assert listed[0] == ["66.7", "%", "of", "3", "red"]  # the weakest first
    assert {row[-1] for row in listed} == set(COLOURS)


def test_a_page_shows_the_matrix_and_the_mistakes(
    graft: Run, tiny_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_plots(monkeypatch)
    (data / "val" / "red" / "wrong.png").write_bytes(plain("blue"))
    page = tmp_path / "evaluation.html"
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val", "--report", page)
    assert result.exit_code == 0, result.output
    assert str(page) in result.stdout
    text = page.read_text(encoding="utf-8")
    assert "Report of an evaluation" in text
    assert "is right on 85.7" in text
    assert "wrong.png" in text
    assert 'class="matrix"' in text
    assert "data:image/jpeg;base64," in text
    assert not any(
        word in text
        for word in ("did not learn from;", "Not in this report", "report.json beside", "fine-tuned")
    )
    as_json = json.loads(
        graft("evaluate", "-m", tiny_path, data, "--split", "val", "--json", "--report", page).stdout
    )
    assert "answers" not in as_json


@pytest.mark.parametrize(("name", "words"), [("page.txt", "ends in .html"), ("none/page.html", "none")])
def test_a_page_that_cannot_be_written_is_told_first(
    graft: Run, tiny_path: Path, data: Path, tmp_path: Path, name: str, words: str
) -> None:
    if name.startswith("none"):
        (tmp_path / "none").write_text("a file")
    result = graft("evaluate", "-m", tiny_path, data, "--split", "val", "--report", tmp_path / name)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not result.stdout

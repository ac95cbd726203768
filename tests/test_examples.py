"""Every program in examples/ runs and finds its known answer; what would take long is trained with less."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from examples import notmnist
from tests import optional

FOLDER = Path(__file__).parent.parent / "examples"
QUICK: dict[str, dict[str, Any]] = {
    "device_placement": {},
    "house_prices": {},
    "iris": {},
    "line": {},
    "notmnist_cnn": {"epochs": 1, "at_least": 0.8},
    "notmnist_pooling": {"epochs": 1, "at_least": 0.8},
    "notmnist_relu": {},
    "notmnist_softmax": {},
    "output_sizes": {},
    "perceptron": {},
    "stable_softmax": {},
    "tensorboard_curves": {},
}
LIBRARY = {"__init__", "notmnist"}


def test_all_examples_are_here_and_in_the_table() -> None:
    programs = {path.stem for path in FOLDER.glob("*.py")} - LIBRARY
    assert programs == set(QUICK)
    named = re.findall(r"`python -m examples\.(\w+)`", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(programs)


def few(glyphs: notmnist.Glyphs, count: int) -> notmnist.Glyphs:
    return notmnist.Glyphs(glyphs.images[:count], glyphs.labels[:count])


@pytest.mark.parametrize("name", QUICK)
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.startswith("notmnist"):
        optional.data_set("notmnist_10k")
    if "epochs" in QUICK[name]:
        learn, test = notmnist.load()
        monkeypatch.setattr(notmnist, "load", lambda: (few(learn, 2560), few(test, 1000)))
    monkeypatch.chdir(tmp_path)  # some of them write files
    importlib.import_module(f"examples.{name}").main(**QUICK[name])
    assert capsys.readouterr().out


def test_missing_data_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"holds no t10k-images.*They are part of https://"):
        importlib.import_module("examples.notmnist_softmax").main()

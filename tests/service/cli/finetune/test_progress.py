"""How a fine-tuning run shows itself: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest

from finetune.job.observing import LineObserver
from finetune.training.result import EpochProgress
from service.cli.finetune.progress import terminal_observer


def test_a_narrow_terminal_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with terminal_observer() as observer:
        observer.begin("train")
        observer.train(EpochProgress("blocks", 12, 50, 2, 2, 12.345, 11.395, 0.556))
        observer.train(EpochProgress("blocks", 13, 50, 1, 2, 99.0))
    shown = screen.getvalue()
    assert "training the blocks 13/50" in shown
    assert "loss 12.345, val 11.395, 55.6 %" in shown
    assert "99.0" not in shown  # it has no validation of its own yet
    assert "-:--:--" in shown or "0:00:0" in shown  # the time left
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_without_a_terminal_each_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_observer() as observer:
        observer.begin("scan", 1200)
        observer.begin("splits")
        observer.train(EpochProgress("head", 3, 50, 1, 2, 0.6))
        observer.train(EpochProgress("head", 3, 50, 2, 2, 0.5, 0.75, 0.9))
        observer.say("few images")
        observer.begin("proof")
    assert capsys.readouterr().err.splitlines() == [
        "looking at the images: 1,200",
        "head: epoch 3/50, loss 0.500, val 0.750, 90.0 %",
        "few images",
        "proof in a fresh process",
    ]


def test_a_stage_that_takes_long_says_where_it_is() -> None:
    lines: list[str] = []
    times = iter([0.0, 10.0, 31.0, 31.0, 40.0])
    observer = LineObserver(lines.append, lambda: next(times))
    observer.begin("features", 5000)
    for done in (100, 900, 1000):
        observer.advance(done)
    assert lines == ["features: 5,000", "features: 900 of 5,000"]

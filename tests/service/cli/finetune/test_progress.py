"""How a fine-tuning run shows itself: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest

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
        observer.train(EpochProgress("blocks", 12, 50, 1, 2, 12.345, 11.395, 0.556))
    shown = screen.getvalue()
    assert "training the blocks 12/50" in shown
    assert "loss 12.345, val 11.395, 55.6 %" in shown
    assert "-:--:--" in shown or "0:00:0" in shown  # the time left
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_without_a_terminal_each_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_observer() as observer:
        for step in (1, 2):
            observer.train(EpochProgress("head", 3, 50, step, 2, 0.5, 0.75, 0.9))
        observer.say("few images")
    assert capsys.readouterr().err.splitlines() == [
        "head: epoch 3/50, loss 0.500, val 0.750, 90.0 %",
        "few images",
    ]

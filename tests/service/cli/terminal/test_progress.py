"""The bar of progress."""

from __future__ import annotations

import io

import pytest

from service.cli.terminal.progress import images_progress


def test_the_bar_says_what_is_done_after_the_last_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with images_progress(40, then="comparing them") as bar:
        bar(39)
        assert "comparing" not in screen.getvalue()
        bar(40)
    assert "comparing them" in screen.getvalue()

"""Runs without what takes the most time and has tests of its own: plots, and the proof in another process."""

from __future__ import annotations

import contextlib

import pytest

from finetune.trust.proof import Proof


class Blank:
    """Draws nothing, and hears nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.report.page.plots", Blank())


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process."""
    without_plots(monkeypatch)
    monkeypatch.setattr(
        "finetune.job.finishing.prove", lambda path, images, expected, **_: Proof(len(images), 0.0, {}, 1e-4)
    )
    monkeypatch.setattr("finetune.job.run.FreshProcess", contextlib.nullcontext)

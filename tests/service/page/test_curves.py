"""The curves of a training in a real browser, however many epochs come at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.config import ServiceConfig
from tests import optional
from tests.service.page.conftest import Watched, serving
from tests.tuned import tuned_classifier

if TYPE_CHECKING:
    from playwright.sync_api import Page

optional.library("playwright.sync_api", extra="browser")

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

# Draws a curve of so many epochs that come within one frame, and gives how often it was drawn, and what it shows.
DRAW = """async (epochs) => {
  const file = document.querySelector("link[href$='/curves.js']").href;
  const { curvesView } = await import(file);
  const view = curvesView();
  document.body.append(view.element);
  const drawing = view.element.querySelector("svg");
  let drawn = 0;
  const watch = new MutationObserver((changes) => (drawn += changes.length));
  watch.observe(drawing, { attributeFilter: ["aria-label"] });
  const points = [{ phase: "choosing", epoch: 9, epochs, accuracy: 0 }];
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  await frame();
  for (let epoch = 1; epoch <= epochs; epoch++) {
    points.push({ phase: "final", epoch, epochs, accuracy: epoch / epochs });
    view.update([...points]);
  }
  await frame();
  await frame();
  const [line] = drawing.querySelectorAll("polyline");
  return { drawn, points: line.getAttribute("points").split(" ").length, text: drawing.getAttribute("aria-label") };
}"""


def test_epochs_that_come_at_once_are_drawn_once(watched: Watched, tmp_path: Path) -> None:
    with serving(ServiceConfig((str(tuned_classifier(tmp_path)),), measure_s=0.0)) as url:
        page: Page = watched.page()
        page.goto(url)
        curve = page.evaluate(DRAW, 400)
    assert curve["drawn"] == 1
    assert curve["points"] == 400  # none of the phase before
    assert "400" in curve["text"]
    assert "100 %" in curve["text"]

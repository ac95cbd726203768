"""Drift and shadow in a real browser, as a service that watches tells of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from finetune.heads.assembly import assemble
from models.runtime import RuntimeConfig
from service.config import ServiceConfig
from tests import optional
from tests.fixtures import encoded
from tests.service.page.conftest import WAIT_MS, Watched, serving
from tests.tuned import CARD, WEIGHTS, described_classifier, linear_top, shades, trunk, tuned_classifier

if TYPE_CHECKING:
    from playwright.sync_api import Page

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

WINDOW = 20  # images


def post(page: Page, url: str, colours: NDArray[np.uint8]) -> None:
    """Ask for the class of an image of each colour."""
    for colour in colours:
        photo = encoded(Image.fromarray(np.broadcast_to(colour, (16, 16, 3)).astype(np.uint8)))
        page.request.post(
            f"{url}v1/classify?model=described", data=photo, headers={"Content-Type": "image/png"}
        )


def shadow_has_heard(page: Page, url: str, images: int) -> None:
    """Wait until the shadow has answered or dropped all of them."""
    until = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < until:
        told = page.request.get(f"{url}v1/models/described/shadow").json()
        if told["images"] + sum(told["dropped"].values()) == images:
            return
    raise AssertionError(told)


def test_drift_and_shadow_are_told_as_they_are(
    watched: Watched, tmp_path: Path, accessible: Callable[[Page], None]
) -> None:
    opposite = tmp_path / "opposite.onnx"
    proto = assemble(trunk(tmp_path), "pool", linear_top(-WEIGHTS), CARD)
    opposite.write_bytes(proto.SerializeToString())
    config = ServiceConfig(
        (str(described_classifier(tmp_path)), str(tuned_classifier(tmp_path)), str(opposite)),
        runtime=RuntimeConfig("cpu", threads=1),
        measure_s=0.0,
        drift_window=WINDOW,
        shadows=("described=opposite",),
        shadow_share=1.0,
    )
    random = np.random.default_rng(3)
    with serving(config) as url:
        page = watched.page()
        page.goto(f"{url}#models")
        model = page.get_by_role("article", name="described")
        drift = model.get_by_role("group", name="Drift", exact=True)
        shadow = model.get_by_role("group", name="Shadow", exact=True)
        expect(drift).to_contain_text(f"no window is full yet; {WINDOW} images are missing")
        expect(shadow).to_contain_text("opposite version 1 has answered no image yet")
        # A model that tells nothing says so, without figures of nothing.
        other = page.get_by_role("article", name="tuned").get_by_role("group", name="Drift", exact=True)
        expect(other).to_contain_text("the file tells nothing of the images")
        expect(other.locator("details")).to_have_count(0)

        post(page, url, shades(random, WINDOW))
        page.reload()
        expect(drift).to_contain_text(
            f"the last {WINDOW} images look like those that were held out in training"
        )
        expect(drift.locator(".tag")).to_have_count(0)
        grey = np.full((WINDOW, 3), 128, np.uint8) + random.integers(0, 9, (WINDOW, 3), np.uint8)
        post(page, url, grey)
        shadow_has_heard(page, url, 2 * WINDOW)
        page.reload()
        expect(drift.locator(".tag")).to_have_text("alarm")
        expect(drift).to_contain_text(f"the last {WINDOW} images do not look like those")
        told = page.request.get(f"{url}v1/models/described/shadow").json()
        expect(shadow).to_contain_text(told["sentence"])
        assert told["disagreements"] == told["images"] > 0

        drift.get_by_text("Figures").click()
        shadow.get_by_text("Figures").click()
        expect(drift.get_by_text("p features").first).to_be_visible()
        expect(shadow.get_by_text("disagreements", exact=True)).to_be_visible()
        expect(shadow).not_to_contain_text("last error")
        pairs, examples = shadow.locator("table").all()
        assert pairs.locator("tbody tr").count() == len(told["pairs"])
        first = told["examples"][0]
        expect(examples.locator("tbody tr").first).to_contain_text(first["model"]["answer"])
        expect(examples.locator("tbody tr").first).to_contain_text(first["shadow"]["answer"])
        assert "[object Object]" not in model.inner_text()
        accessible(page)
        page.set_viewport_size({"width": 390, "height": 844})
        accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_models_by_keyboard_alone(watched: Watched, url: str) -> None:
    page = watched.page()
    page.goto(url)
    expect(page.get_by_label("Model", exact=True)).to_be_visible()

    def tab_to(what: str) -> None:
        """Press Tab until the focus is on it, and is seen."""
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(
                "(what) => [document.activeElement.textContent, document.activeElement.getAttribute('aria-label'),"
                " document.activeElement.labels?.[0]?.textContent].some((one) => one?.trim() === what)",
                what,
            ):
                ring = page.evaluate(
                    "[getComputedStyle(document.activeElement).outlineStyle,"
                    " parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"
                )
                assert ring[0] != "none", what
                assert ring[1] >= 2, what
                return
        raise AssertionError(f"Tab does not lead to {what}")

    tab_to("Models")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.locator("main")).to_be_focused()
    tab_to("Versions of colours")
    tab_to("Card of version 2")
    page.keyboard.press("Enter")
    labels = page.get_by_role("article", name="colours").locator(".label-list")
    expect(labels).to_be_visible()
    tab_to("3 classes")
    expect(labels).to_be_focused()
    tab_to("B")
    before = page.get_by_label("B", exact=True).input_value()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("B", exact=True).input_value() != before
    with page.expect_file_chooser():
        tab_to("Choose photos")
        page.keyboard.press("Enter")

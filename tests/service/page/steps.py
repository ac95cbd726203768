"""What people do in Teach, again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import optional
from tests.service.page.conftest import WAIT_MS

if TYPE_CHECKING:
    from playwright.sync_api import Page

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

TRAINED_MS = 600_000  # on a machine that does a lot else
# What a browser says while the service is gone: refused, reset, cut short, by where a request was then.
GONE = ("net::ERR_",)


def wait_until(page: Page, holds: Callable[[], object]) -> None:
    """Let the browser be heard until something holds here, such as that one of its requests has come."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not holds():
        assert time.monotonic() < deadline
        page.evaluate("1")


def begin(page: Page, name: str) -> None:
    page.get_by_label("What is it about?").fill(name)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()


def drop(page: Page, selector: str, *paths: Path) -> None:
    """Let go of files and folders of this machine over an element, as their owner would with the mouse."""
    target = page.locator(selector)
    target.scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}

    def send(*kinds: str) -> None:
        box = target.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in kinds:
            session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    def marked() -> bool:
        """Whether the element shows that it would take them; one that has moved meanwhile is followed."""
        send("dragOver")
        return "over" in (target.get_attribute("class") or "").split()

    send("dragEnter")
    wait_until(page, marked)
    send("drop")


def add_folder(page: Page, folder: Path, *, dropped: bool = False) -> None:
    if dropped:
        drop(page, ".drop.folders", *folder.iterdir())
    else:
        page.locator(".folders input[webkitdirectory]").set_input_files(folder)
    for one in folder.iterdir():
        expect(card(page, one.name).locator(".count")).to_have_text(f"{len(list(one.iterdir()))} photos")
    expect(page.locator(".uploading")).to_be_empty()


def card(page: Page, name: str) -> Any:
    return page.get_by_role("listitem", name=name, exact=True).and_(page.locator(".class-card"))


def set_epochs(page: Page, epochs: int, patience: int | None = None) -> None:
    """Train for so long; with `patience`, also where nothing gets better."""
    page.get_by_text("All settings").click()
    if patience is not None:
        page.get_by_label("patience", exact=True).fill(str(patience))
        page.get_by_label("measure", exact=True).select_option("split")
    page.get_by_label("epochs", exact=True).fill(str(epochs))
    page.get_by_label("views", exact=True).fill("1")


def train(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Train( again)?$")).first.click()


def expect_verdict(page: Page) -> None:
    expect(page.locator(".verdict")).to_be_visible(timeout=TRAINED_MS)

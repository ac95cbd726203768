"""Models in a real browser: versions, cards, traffic, and whether two versions agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests import optional
from tests.fixtures import plain
from tests.service.page.conftest import Watched
from tests.service.page.steps import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]


@pytest.fixture
def page(watched: Watched, url: str) -> Page:
    page = watched.page()
    page.goto(f"{url}#models")
    expect(page.get_by_role("article")).to_have_count(3)
    return page


def test_shows_versions_with_their_cards(page: Page) -> None:
    colours = page.get_by_role("article", name="colours")
    expect(colours.locator("tbody tr")).to_have_count(2)
    colours.get_by_text("Card of version 2").click()
    expect(colours.locator(".label-list li")).to_have_text(["red", "green", "blue"])


def test_shows_traffic_as_it_comes(page: Page, url: str) -> None:
    page.request.post(
        f"{url}v1/classify?model=colours&version=1",
        data=plain("red"),
        headers={"Content-Type": "image/png"},
    )
    row = page.get_by_role("article", name="colours").locator(
        "tbody tr", has=page.locator("th", has_text="1")
    )
    expect(row).not_to_contain_text("0 images")
    expect(row).to_contain_text("an image")


def test_two_versions_on_the_same_photos(page: Page) -> None:
    page.get_by_label("A", exact=True).select_option(label="colours: version 1")
    page.get_by_label("B", exact=True).select_option(label="graft-mini")
    page.locator(".block input[type=file]").set_input_files(
        [{"name": f"{name}.png", "mimeType": "image/png", "buffer": plain(name)} for name in ("red", "blue")]
    )
    expect(page.locator(".headline")).to_have_text(
        "They agree on 0 of 2 photos: 0.0 % (95 % interval: 0 % to 66 %)."
    )
    expect(page.locator(".small-cards .card")).to_have_count(2)
    page.get_by_label("B", exact=True).select_option(label="colours: version 2")
    expect(page.locator(".headline")).to_contain_text("They agree on 2 of 2 photos: 100.0 %")


def test_a_service_without_administration_says_how_to_have_it(page: Page, watched: Watched) -> None:
    watched.expected.append("403")
    page.get_by_role("button", name="Make stable").first.click()
    expect(page.locator(".toast.failed")).to_contain_text("administration is off")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_fits_any_width_without_barriers(
    watched: Watched, url: str, accessible: Callable[[Page], None], width: int, scheme: str
) -> None:
    page = watched.page(width, color_scheme=scheme)
    page.goto(f"{url}#models")
    expect(page.get_by_role("article")).to_have_count(3)
    page.get_by_text("Card of version 1").click()
    expect(page.locator(".label-list li").first).to_be_visible()
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_teach_says_what_to_start_where_nobody_may_teach(
    page: Page, accessible: Callable[[Page], None]
) -> None:
    page.get_by_role("link", name="Teach").click()
    expect(page.get_by_text("graft teach", exact=True)).to_be_visible()
    accessible(page)


def test_a_card_that_is_opened_again_before_it_has_come_is_there_once(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/models/colours?version=2", lambda route: held.append(route))
    for _ in range(3):  # opened, closed and opened
        page.get_by_text("Card of version 2").click()
    wait_until(page, lambda: held)
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # whatever else was asked for has come
    for route in held:
        with page.expect_response("**/v1/models/colours?version=2"):
            route.continue_()
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # after whoever waited for it
    expect(page.get_by_role("article", name="colours").locator(".card-facts")).to_have_count(1)


def test_a_list_that_was_overtaken_is_not_shown(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/models", lambda route: route.continue_() if held else held.append(route))
    for part in ("Try", "Models"):
        page.get_by_role("link", name=part, exact=True).click()
    wait_until(page, lambda: held)
    with page.expect_response("**/v1/models"):
        for part in ("Try", "Models"):
            page.get_by_role("link", name=part, exact=True).click()
    with page.expect_response("**/v1/models"):
        held[0].fulfill(json={"models": [], "default": None})
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # after whoever waited for it
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_label("A", exact=True)).not_to_be_empty()


def test_teach_is_there_once_the_service_answers_again(watched: Watched, url: str) -> None:
    watched.expected.append("ERR_FAILED")
    page = watched.page()
    page.route("**/openapi.json", lambda route: route.abort(), times=1)
    page.goto(f"{url}#teach")
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    page.get_by_role("link", name="Try", exact=True).click()
    page.get_by_role("link", name="Teach", exact=True).click()
    expect(page.get_by_text("graft teach", exact=True)).to_be_visible()

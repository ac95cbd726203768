"""Teach in quick hands and slow nets: by keyboard alone, and further before an answer is there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import optional
from tests.fixtures import encoded
from tests.service.page.conftest import Watched
from tests.service.page.steps import begin, card, wait_until
from tests.service.page.teaching import Service, disc

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]


def test_photos_by_keyboard_alone(page: Page) -> None:
    begin(page, "keys")
    page.get_by_label("Name of a new class").fill("discs")
    page.keyboard.press("Enter")
    page.get_by_label("Name of a new class").fill("crosses")
    page.keyboard.press("Enter")
    # No change is on its way, with which photos would be drawn again.
    expect(card(page, "crosses")).to_be_visible()
    discs = card(page, "discs")
    discs.locator("input[type=file]").set_input_files(
        [{"name": f"{i}.png", "mimeType": "image/png", "buffer": encoded(disc(i))} for i in range(3)]
    )
    expect(discs.locator(".count")).to_have_text("3 photos")
    expect(discs.locator(".strip img")).to_have_count(3)  # there, not on its way: nothing else can be opened
    discs.locator(".strip button").first.focus()
    page.keyboard.press("ArrowRight")
    expect(discs.locator(".strip button").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_label("Class").select_option("crosses")
    expect(card(page, "crosses").locator(".count")).to_have_text("1 photo")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(discs.locator(".strip img")).to_have_count(2)
    discs.locator(".strip button").first.focus()
    page.keyboard.press("Delete")
    expect(discs.locator(".count")).to_have_text("1 photo")


def test_who_starts_twice_has_one_set(page: Page, watched: Watched, service: Service) -> None:
    watched.expected.append("ERR_FAILED")
    start = page.get_by_role("button", name="Start", exact=True)
    page.get_by_label("What is it about?").fill("once")
    routes: list[Route] = []
    page.route("**/v1/datasets", lambda route: routes.append(route))
    start.click()
    start.click()
    wait_until(page, lambda: routes)
    routes[0].abort()  # it can be tried again
    expect(page.locator(".toast.failed")).to_be_visible()
    page.unroute("**/v1/datasets")
    start.evaluate("(one) => [one, one].forEach((again) => again.click())")  # both before an answer
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    assert len(routes) == 1
    assert [one["name"] for one in service.ask("v1/datasets")["datasets"]].count("once") == 1


def test_who_goes_on_before_an_answer_is_there_is_not_taken_back(
    page: Page, photos: Path, service: Service
) -> None:
    held: dict[str, Route | None] = {}  # the request that waits, by the last part of its address

    def through(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if name in held and held[name] is None:
            held[name] = route
        else:
            route.continue_()

    @contextlib.contextmanager
    def holding(name: str) -> Iterator[None]:
        held[name] = None
        yield
        wait_until(page, lambda: held[name])

    def release(name: str) -> None:
        route = held.pop(name)
        assert route is not None
        route.continue_()

    page.route("**/v1/*", through)
    with page.expect_response("**/v1/jobs"):
        begin(page, "first")
    # Another set, asked for and left before it came.
    with holding("datasets"):
        page.get_by_role("button", name="Start another").click()
    page.go_back()
    with page.expect_response("**/v1/datasets"):
        release("datasets")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    expect(page.get_by_label("What is it about?")).to_have_count(0)

    # Photos for a new set, while the old one is still on its way.
    with holding("jobs"):
        page.reload()
    page.get_by_role("button", name="Start another").click()
    expect(page.get_by_label("What is it about?")).to_be_visible()
    with holding("workspace"):
        page.locator("input[webkitdirectory]").set_input_files(photos)
    with page.expect_response("**/v1/jobs"):
        release("jobs")
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # after whoever waited for it
    release("workspace")
    for name in ("discs", "crosses"):
        expect(card(page, name).locator(".count")).to_have_text("30 photos")
    counts = {one["name"]: one["images"] for one in service.ask("v1/datasets")["datasets"]}
    assert (counts["first"], counts["photos"]) == (0, 60)

    # Nothing is begun before it is known whether something goes on already.
    train = page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_enabled()
    with holding("jobs"):
        page.reload()
    expect(train).to_be_disabled()
    release("jobs")
    expect(train).to_be_enabled()


def test_photos_are_marked_when_they_were_looked_at_later(page: Page) -> None:
    begin(page, "copies")
    page.get_by_label("Name of a new class").fill("discs")
    page.keyboard.press("Enter")
    discs = card(page, "discs")
    expect(discs).to_be_visible()
    listed: list[Route] = []

    def not_yet(route: Route) -> None:
        """As a service answers that has not looked at the photos again since the last one came."""
        answer = route.fetch()
        facts = answer.json()
        if route.request.method == "POST":
            facts["dataset"] |= {"warnings": [], "warnings_revision": facts["dataset"]["revision"] - 1}
        elif not listed:
            listed.append(route)
            for image in facts["images"]:
                image["flags"] = []
        route.fulfill(response=answer, json=facts)

    page.route(re.compile(r"/images\?"), not_yet)
    discs.locator("input[type=file]").set_input_files(
        [
            {"name": name, "mimeType": "image/png", "buffer": encoded(disc(1))}
            for name in ("one.png", "copy.png")
        ]
    )
    expect(page.locator(".warnings")).to_contain_text("the very same file")
    expect(discs.locator(".strip .flag")).to_have_count(2)
    expect(discs.locator(".strip img")).to_have_count(2)
    assert listed


def test_a_set_that_could_not_be_shown_is_there_once_the_service_answers(
    page: Page, watched: Watched
) -> None:
    watched.expected.append("ERR_FAILED")
    page.route("**/v1/jobs", lambda route: route.abort(), times=1)
    page.get_by_label("What is it about?").fill("again")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    page.get_by_role("link", name="Try", exact=True).click()
    expect(page.get_by_role("button", name="Choose photos")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    expect(page.get_by_text("The service does not answer.")).to_have_count(0)


# People are asked before a camera is given: until `grant` is called. `streams` holds what was given.
ASKING = """() => {
  const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const granted = new Promise((resolve) => (window.grant = resolve));
  [window.asked, window.streams] = [0, []];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    window.asked += 1;
    await granted;
    window.streams.push(await given(wanted));
    return window.streams.at(-1);
  };
}"""


def test_a_camera_that_is_granted_late_is_opened_once_and_not_for_those_who_left(page: Page) -> None:
    begin(page, "late")
    page.get_by_label("Name of a new class").fill("discs")
    page.keyboard.press("Enter")
    discs = card(page, "discs")
    page.evaluate(ASKING)
    for _ in range(2):
        discs.get_by_role("button", name="Use the camera").click()
    assert page.evaluate("window.asked") == 1
    page.get_by_role("link", name="Try", exact=True).click()
    expect(discs).to_be_hidden()
    page.evaluate("window.grant()")
    ended = "window.streams.flatMap((one) => one.getTracks()).map((one) => one.readyState)"
    wait_until(page, lambda: page.evaluate(ended) == ["ended"])
    page.go_back()
    discs.get_by_role("button", name="Use the camera").click()
    expect(discs.locator("video")).to_be_visible()
    assert page.evaluate(ended) == ["ended", "live"]


def test_names_typed_while_others_are_on_their_way_are_kept(page: Page, watched: Watched) -> None:
    watched.expected.append("ERR_FAILED")
    begin(page, "quick")
    field = page.get_by_label("Name of a new class")
    routes: list[Route] = []
    page.route(re.compile("/classes(/[^/]+)?$"), lambda route: routes.append(route))

    def held(index: int) -> Route:
        wait_until(page, lambda: len(routes) > index)
        return routes[index]

    for name in ("discs", "crosses", "rings"):
        field.fill(name)
        page.keyboard.press("Enter")
    field.fill("stars, half of it")
    held(0).continue_()
    held(1).continue_()  # one after the other, in the order of typing
    held(2).abort()
    expect(page.locator(".toast.failed")).to_be_visible()
    expect(page.locator(".class-card:not(.new) .unseen")).to_have_text(["discs", "crosses"])
    expect(field).to_have_value("stars, half of it")
    # What could not be added comes back where nothing else was typed.
    field.fill("rings")
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    held(3).abort()
    expect(field).to_have_value("rings")
    # So with names that are changed.
    name = card(page, "discs").locator(".class-name")
    name.fill("circles")
    name.press("Enter")
    name.fill("circles and")
    held(4).continue_()
    expect(card(page, "circles").locator(".class-name")).to_have_value("circles and")

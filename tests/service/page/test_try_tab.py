"""Try in a real browser: photos in, what the model says out, and where it looks."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import skimage

from service.config import ServiceConfig
from service.tokens import Tokens, new_token
from tests import optional
from tests.fixtures import plain
from tests.service.page.conftest import Watched, serving
from tests.service.page.steps import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

COFFEE = Path(skimage.__file__).parent / "data" / "coffee.png"
SHIFT = 0.01  # what is called good is 0.1 (https://web.dev/articles/cls)
# Waits until what has changed is drawn, and the browser has told of what moved: it does so after the frame.
DRAWN = """async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await frame();
  await frame();
}"""


@pytest.fixture
def page(watched: Watched, url: str) -> Page:
    page = watched.page()
    page.goto(url)
    return page


def choose(page: Page, *photos: tuple[str, bytes] | Path) -> None:
    page.locator(".try input[type=file]").set_input_files([
        photo if isinstance(photo, Path) else {"name": photo[0], "mimeType": "image/png", "buffer": photo[1]}
        for photo in photos
    ])  # fmt: skip


def use(page: Page, model: str) -> None:
    page.get_by_label("Model", exact=True).select_option(label=model)


def send(page: Page, selector: str, event: str, files: dict[str, bytes]) -> None:
    """Drop files on an element, or paste them: as data that the browser makes itself, for it lets nobody else."""
    data = [(name, base64.b64encode(content).decode()) for name, content in files.items()]
    page.evaluate(
        """([selector, event, files]) => {
          const transfer = new DataTransfer();
          for (const [name, content] of files) {
            const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
            const type = name.endsWith(".txt") ? "text/plain" : "image/png";
            transfer.items.add(new File([bytes], name, { type }));
          }
          const options = { bubbles: true, cancelable: true };
          const target = selector ? document.querySelector(selector) : document;
          const made = event === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
            : new DragEvent(event, { ...options, dataTransfer: transfer });
          target.dispatchEvent(made);
        }""",
        [selector, event, data],
    )


def test_a_photo_gets_its_classes_and_shows_where_they_are_seen(page: Page) -> None:
    use(page, "graft-mini")
    choose(page, COFFEE)
    card = page.locator(".card")
    expect(card.locator(".bar-row")).to_have_count(5)
    expect(card.locator(".verdict-line")).to_contain_text("espresso")
    card.get_by_role("button", name="espresso").click()
    canvas = card.locator("canvas")
    expect(canvas).to_have_attribute(
        "aria-label", "Where the model sees espresso: bright is where most speaks for it"
    )
    # The cup stands in the middle; the corner was not even seen.
    alphas = canvas.evaluate(
        """(one) => {
          const { data, width } = one.getContext("2d").getImageData(0, 0, one.width, one.height);
          const alpha = (x, y) => data[4 * (Math.floor(y * one.height) * width + Math.floor(x * width)) + 3];
          return [alpha(0.45, 0.4), alpha(0.01, 0.5)];
        }"""
    )
    assert alphas[0] > 100 > alphas[1]
    card.get_by_label("How much of the map is shown").fill("0")
    expect(canvas).to_have_css("opacity", "0")
    expect(card.get_by_role("button", name="espresso")).to_have_attribute("aria-pressed", "true")
    card.get_by_role("button", name="espresso").click()
    expect(canvas).to_have_count(0)


def test_dropped_and_pasted_photos_stand_in_a_grid_and_a_text_is_named(
    page: Page, accessible: Callable[[Page], None]
) -> None:
    send(page, ".try", "drop", {"red.png": plain("red"), "blue.png": plain("blue"), "notes.txt": b"hello"})
    send(page, "", "paste", {"green.png": plain((0, 255, 0))})
    expect(page.locator(".card")).to_have_count(3)
    for name, label in (("red.png", "red"), ("blue.png", "blue"), ("green.png", "green")):
        expect(page.locator(".card", has_text=name).locator(".verdict-line strong")).to_have_text(label)
    expect(page.locator(".toast")).to_contain_text("1 file is no photo and was left out.")
    accessible(page)
    page.get_by_role("button", name="Close this notice").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_what_is_none_of_the_classes_is_said(page: Page) -> None:
    choose(page, ("grey.png", plain((128, 128, 128))))
    expect(page.locator(".verdict-line.none")).to_have_text("None of these Most like:")


def test_a_regression_gives_its_value_with_its_interval(page: Page) -> None:
    use(page, "redness")
    choose(page, ("red.png", plain("red")))
    expect(page.locator(".value")).to_contain_text("%")
    expect(page.locator(".result")).to_contain_text("in 90 % of all photos")


def test_another_model_answers_about_the_same_photos(page: Page) -> None:
    choose(page, ("red.png", plain("red")))
    expect(page.locator(".verdict-line strong")).to_have_text("red")
    use(page, "redness")
    expect(page.locator(".value")).to_be_visible()


def test_a_bad_photo_says_why_and_harms_no_other(page: Page, watched: Watched) -> None:
    watched.expected.append("422")
    choose(page, ("bad.png", b"no image"), ("red.png", plain("red")))
    expect(page.locator(".card", has_text="bad.png").locator(".failed")).to_be_visible()
    expect(page.locator(".card", has_text="red.png").locator(".verdict-line strong")).to_have_text("red")
    page.get_by_role("button", name="Remove bad.png").click()
    expect(page.locator(".card")).to_have_count(1)


def test_names_of_files_are_text(page: Page) -> None:
    choose(page, ("<img src=x onerror=alert(1)>.png", plain("red")))
    expect(page.locator(".card .name")).to_have_text("<img src=x onerror=alert(1)>.png")


def test_the_camera_gives_a_photo(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator(".card .bar-row").first).to_be_visible()


def test_the_lines_to_copy_do_the_same(page: Page, tmp_path: Path) -> None:
    name = "it's a, photo.png"
    (tmp_path / name).write_bytes(plain("blue"))
    choose(page, (name, plain("blue")))
    page.get_by_text("The same without this page").click()
    expect(page.locator(".code code").first).to_contain_text("model=colours")  # it was chosen
    curl, python = page.locator(".code code").all_inner_texts()
    answer = subprocess.run(["sh", "-c", f"{curl} --silent"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(answer.stdout)["results"][0]["predictions"][0]["label"] == "blue"
    compile(python, "lines", "exec")
    pytest.importorskip("requests", reason="requests is not installed")
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "'label': 'blue'" in done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_fits_any_width_without_barriers_or_jumps(
    watched: Watched, url: str, accessible: Callable[[Page], None], width: int, scheme: str
) -> None:
    page = watched.page(width, 1800, color_scheme=scheme)  # all is in sight: what moves elsewhere is not told
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    accessible(page)
    page.evaluate(DRAWN)
    assert page.evaluate("window.shifts") == 0
    held: list[Route] = []
    page.route("**/v1/classify?*", lambda route: held.append(route))
    choose(page, ("red.png", plain("red")), ("grey.png", plain((128, 128, 128))))
    expect(page.locator(".card")).to_have_count(2)
    wait_until(page, lambda: len(held) == 2)
    page.evaluate(DRAWN)
    page.evaluate("window.shifts = 0")  # what people do may move things; what is answered may not
    for route in held:
        route.continue_()
    expect(page.locator(".bar-row")).to_have_count(6)
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.evaluate(DRAWN)
    assert page.evaluate("window.shifts") < SHIFT


def test_by_keyboard_alone(page: Page) -> None:
    choose(page, ("red.png", plain("red")))
    expect(page.locator(".bar-row").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Choose photos", "Take a photo", "Clear"} <= reached
    assert any(text.startswith("red") for text in reached)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_asks_for_a_token_where_the_service_does(
    watched: Watched, config: ServiceConfig, accessible: Callable[[Page], None]
) -> None:
    watched.expected.append("401")
    token, line = new_token(["infer"])
    with serving(config, Tokens([line])) as url:
        page = watched.page()
        page.goto(url)
        field = page.locator("#token-field")
        expect(field).to_be_visible()
        accessible(page)
        field.fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator(".toast.failed")).to_contain_text("the token is not known here")
        field.fill(token)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_label("Model", exact=True)).to_contain_text("tiny")
        page.locator(".try input[type=file]").set_input_files(
            [{"name": "red.png", "mimeType": "image/png", "buffer": plain("red")}]
        )
        expect(page.locator(".bar-row").first).to_be_visible()
        expect(page.locator(".code code").first).to_contain_text("$TOKEN")
        # Kept for this tab alone, and until it is closed.
        assert page.evaluate("[Object.keys(localStorage), document.cookie]") == [[], ""]
        page.reload()
        expect(page.get_by_label("Model", exact=True)).to_contain_text("tiny")
        page.get_by_role("button", name="Token").click()
        page.get_by_role("button", name="Use it").click()  # empty: forgotten
        expect(page.locator(".toast.failed")).to_contain_text("a token of the scope infer is needed")
        assert page.evaluate("sessionStorage.length") == 0

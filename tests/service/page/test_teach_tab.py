"""Teach in a real browser: from photos to a model that answers, through reloads, kills and cancelled runs."""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.names import INPUT, PROBABILITIES
from models.runtime import OnnxSession
from service.tokens import new_token
from tests import optional
from tests.fixtures import encoded, plain
from tests.service.page.conftest import Watched
from tests.service.page.steps import (
    GONE,
    TRAINED_MS,
    add_folder,
    begin,
    card,
    drop,
    expect_verdict,
    set_epochs,
    train,
    wait_until,
)
from tests.service.page.teaching import Service, cross, disc, write_photos, write_video

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Browser, Page, Route

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

# Remembers how the first curve was described, each time that it was drawn.
WATCH_STAGES = """() => {
  window.stages = [];
  const texts = (changes) => changes.flatMap(({ addedNodes }) => [...addedNodes].map((node) => node.textContent));
  const watch = new MutationObserver((changes) => window.stages.push(...texts(changes)));
  watch.observe(document.querySelector(".going .stage"), { childList: true });
}"""
WATCH_CURVES = """() => {
  window.told = [];
  const watch = new MutationObserver((changes) => window.told.push(...changes.map((one) => one.oldValue)));
  watch.observe(document.querySelector(".curves svg"), { attributeFilter: ["aria-label"], attributeOldValue: true });
}"""
# Remembers notices, which go by themselves.
WATCH_NOTICES = """() => {
  window.notices = [];
  const texts = (changes) => changes.flatMap(({ addedNodes }) => [...addedNodes].map((node) => node.textContent));
  new MutationObserver((changes) => window.notices.push(...texts(changes))).observe(document.body, { childList: true });
}"""


def told(rows: Any) -> dict[str, str]:
    """The share of each class as bars show it."""
    names, shares = (rows.locator(part).all_inner_texts() for part in (".bar-name", ".bar-share"))
    return dict(zip(names, shares, strict=True))


def test_from_folders_to_a_model_that_answers(
    page: Page, photos: Path, tmp_path: Path, watched: Watched, accessible: Callable[[Page], None]
) -> None:
    begin(page, "shapes")
    accessible(page)
    add_folder(page, photos, dropped=True)
    accessible(page)
    set_epochs(page, 12)
    page.evaluate(WATCH_CURVES)
    page.evaluate(WATCH_STAGES)
    train(page)
    expect(page.locator(".going")).to_be_visible()
    accessible(page)
    expect_verdict(page)
    assert page.evaluate("window.told.length")  # drawn while it learns; how often, frames decide
    before = re.compile("starting|Another training goes first")
    stages = list(itertools.dropwhile(before.match, page.evaluate("window.stages")))
    assert "training" in stages
    assert "starting" not in stages
    expect(page.locator(".verdict .headline")).not_to_be_empty()
    expect(page.locator(".mistakes h3")).to_contain_text(re.compile("[Mm]istake"))
    accessible(page)

    unseen = tmp_path / "unseen.jpg"
    unseen.write_bytes(encoded(disc(5000), "JPEG"))
    # Two at once, the second while the model of the first is being loaded: it is loaded once.
    promotions: list[Route] = []
    page.route("**/promote", lambda route: promotions.append(route))
    for _ in range(2):
        page.locator(".slim input[type=file]").set_input_files(unseen)
    wait_until(page, lambda: promotions)
    promotions[0].continue_()
    expect(page.locator(".step .verdict-line")).to_have_count(2)
    cards = page.get_by_role("list", name="Photos", exact=True).locator(".card")
    shown = told(cards.first.locator(".bar-row"))
    assert shown == told(cards.last.locator(".bar-row"))

    with page.expect_download() as download:
        page.get_by_role("button", name="Download model.onnx").click()
    file = tmp_path / "home.onnx"
    download.value.save_as(file)
    with page.expect_download() as other:
        page.get_by_role("button", name="Download model-any-size.onnx").click()
    assert other.value.suggested_filename == download.value.suggested_filename.replace(
        ".onnx", "-any-size.onnx"
    )
    other.value.save_as(tmp_path / "web.onnx")
    pixels = np.asarray(disc(5000).convert("RGB"))[None]
    (probabilities,) = OnnxSession(tmp_path / "web.onnx").run({INPUT: pixels}, [PROBABILITIES])
    assert probabilities.shape == (1, 2)
    done = subprocess.run(
        [sys.executable, "-m", "graft", "classify", "--device", "cpu", "--json", "--model", file, unseen],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    answer = answer[0] if isinstance(answer, list) else answer
    assert {one["label"]: f"{100 * one['probability']:.1f} %" for one in answer["predictions"]} == shown

    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("is stable: it answers")).to_be_visible()
    page.get_by_role("link", name="Try it in Try").click()
    expect(page.get_by_label("Model", exact=True)).to_have_value('{"model":"shapes"}')
    page.locator(".try input[type=file]").set_input_files(unseen)
    rows = page.locator(".try .bar-row")
    expect(rows).to_have_count(2)
    assert told(rows) == shown

    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("article", name="shapes")).to_be_visible()
    page.get_by_role("button", name="Report").first.click()
    expect(page.frame_locator("dialog iframe").get_by_role("heading", level=1)).to_be_visible()
    assert page.frame_locator("dialog iframe").locator("script").count() == 0
    page.get_by_role("button", name="Close", exact=True).click()
    accessible(page)


def test_a_mistake_is_put_right_and_the_next_training_is_compared(page: Page, photos: Path) -> None:
    for i in range(20):  # crosses that somebody took for discs: whatever is measured, some are wrong
        (photos / "discs" / f"wrong-{i}.jpg").write_bytes(encoded(cross(3000 + i), "JPEG"))
    begin(page, "mended")
    add_folder(page, photos)
    page.get_by_label("What is trained").select_option("sklearn")
    page.get_by_text("All settings").click()
    page.get_by_label("test", exact=True).fill("0.4")
    train(page)
    expect_verdict(page)
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("mended version 1 is stable")).to_be_visible()
    mistake = page.locator(".mistakes .card").first
    mistake.get_by_role("button", name="It is").click()
    expect(mistake).to_contain_text("now.")
    expect(page.locator(".changes")).to_contain_text("1 photo was put right")
    mistake.get_by_role("button", name="Undo").click()
    mistake.get_by_role("button", name="Remove").click()
    expect(mistake).to_contain_text("Removed.")
    expect(page.locator(".changes")).to_contain_text("1 photo was put right")
    page.get_by_role("button", name="Train again").last.click()
    expect(page.locator(".compared")).to_contain_text("Against the training before:", timeout=TRAINED_MS)
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("mended version 2 is stable")).to_be_visible()
    page.evaluate(WATCH_NOTICES)
    page.get_by_role("button", name="Go back to version 1").click()
    wait_until(page, lambda: page.evaluate("window.notices"))
    notice = "mended: version 1 is stable now; before it was 2.×"
    assert page.evaluate("window.notices") == [notice]


def test_the_camera_teaches_while_a_button_is_held(
    launch: Callable[..., Browser], service: Service, tmp_path: Path
) -> None:
    write_video(tmp_path / "camera.mjpeg")
    watched = Watched(launch(f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}"))
    page = watched.page()
    page.goto(f"{service.url}#teach")
    begin(page, "camera")
    for name in ("discs", "crosses"):
        page.get_by_label("Name of a new class").fill(name)
        page.get_by_role("button", name="Add class").click()
    discs = card(page, "discs")
    discs.get_by_role("button", name="Use the camera").click()
    hold = discs.get_by_role("button", name="Hold to shoot")
    hold.hover()
    page.mouse.down()
    expect(discs.locator(".count")).to_have_text(re.compile(r"^([5-9]|\d\d+) photos$"))
    page.mouse.up()
    # By the keyboard as well.
    expect(page.locator(".uploading")).to_be_empty()
    held = int(discs.locator(".count").inner_text().split()[0])
    hold.focus()
    page.keyboard.down(" ")
    expect(discs.locator(".count")).not_to_have_text(f"{held} photos")
    page.keyboard.up(" ")
    expect(page.locator(".warnings")).to_contain_text("no image yet")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    # The other class is dropped on its card.
    expect(page.locator(".uploading")).to_be_empty()
    write_photos(tmp_path / "photos", 24)
    drop(page, ".class-card:nth-child(2)", *(tmp_path / "photos" / "crosses").iterdir())
    expect(card(page, "crosses").locator(".count")).to_have_text("24 photos")
    hold.hover()
    page.mouse.down()
    expect(discs.locator(".count")).to_have_text(re.compile(r"^(2[4-9]|[3-9]\d|\d{3,}) photos$"))
    page.mouse.up()
    discs.get_by_role("button", name="Close the camera").click()
    expect(discs.locator("video")).to_have_count(0)
    page.get_by_label("What is trained").select_option("sklearn")
    train(page)
    expect_verdict(page)
    page.locator(".slim").get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator(".step .bar-row")).to_have_count(2)
    watched.close()


def test_a_cancelled_training_leaves_the_photos(page: Page, photos: Path) -> None:
    begin(page, "cancelled")
    add_folder(page, photos)
    set_epochs(page, 100_000, patience=100_000)  # it is not over before it is cancelled
    train(page)
    expect(page.locator(".going .stage")).to_have_text("training", timeout=TRAINED_MS)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/cancel", lambda route: held.append((route, route.fetch())))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Training was cancelled.")).to_be_visible(timeout=TRAINED_MS)
    # What the service said first comes last.
    wait_until(page, lambda: held)
    ((route, answer),) = held
    assert answer.json()["state"] == "cancelling"
    with page.expect_response("**/cancel"):
        route.fulfill(response=answer)
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # after whoever waited for it
    expect(page.get_by_text("Training was cancelled.")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    expect(card(page, "discs").locator(".count")).to_have_text("30 photos")


def test_goes_on_after_a_reload_and_after_the_service_was_killed(
    page: Page, photos: Path, service: Service, watched: Watched
) -> None:
    watched.expected.extend(GONE)
    begin(page, "killed")
    add_folder(page, photos)
    set_epochs(page, 6000, patience=6000)
    train(page)
    expect(page.locator(".going")).to_be_visible()
    page.reload()
    expect(page.locator(".going")).to_be_visible()
    service.kill()
    expect(page.get_by_text("The service does not answer; trying again.")).to_be_visible()
    service.start()
    expect_verdict(page)
    expect(page.get_by_text("The service does not answer")).to_have_count(0)


def test_bad_photos_are_named_and_harm_no_other(page: Page, watched: Watched) -> None:
    watched.expected.append("422")
    begin(page, "bad")
    page.get_by_label("Name of a new class").fill("<b>markup</b>")
    page.get_by_role("button", name="Add class").click()
    markup = card(page, "<b>markup</b>")
    files = [("good.png", encoded(disc(1))), ("text.png", b"hello"), ("copy.png", encoded(disc(1)))]
    markup.locator("input[type=file]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )
    expect(markup.locator(".count")).to_have_text("2 photos")
    expect(page.locator(".uploading")).to_contain_text("1 photo was not taken")
    page.locator(".uploading summary").click()
    expect(page.locator(".uploading li")).to_contain_text("text.png")
    expect(page.locator(".warnings")).to_contain_text("the very same file")
    expect(markup.locator(".flag").first).to_be_visible()
    assert page.locator(".class-card b").count() == 0


def test_a_zip_archive_is_a_set_of_its_own(page: Page) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, colour in (("red", "red"), ("blue", "blue")):
            target.writestr(f"{name}/one.png", plain(colour))
    page.locator("input[accept*=zip]").set_input_files(
        [{"name": "colours.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}]
    )
    expect(card(page, "red").locator(".count")).to_have_text("1 photo")
    expect(page.get_by_label("Set of photos")).to_contain_text("colours")


def test_a_zip_that_climbs_out_is_refused(page: Page, watched: Watched) -> None:
    watched.expected.extend(("400", "422"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("../../red/one.png", plain("red"))
    page.locator("input[accept*=zip]").set_input_files(
        [{"name": "evil.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}]
    )
    expect(page.locator(".toast.failed")).to_be_visible()
    expect(page.get_by_label("What is it about?")).to_be_visible()


def test_two_thousand_photos_are_few_elements(page: Page, service: Service, tmp_path: Path) -> None:
    archive = tmp_path / "many.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for i in range(2000):
            target.writestr(f"{'ab'[i % 2]}/{i}.png", plain((i % 256, i // 256 * 30, 90), (8, 8)))
    page.locator("input[accept*=zip]").set_input_files(archive)
    expect(card(page, "a").locator(".count")).to_have_text("1,000 photos", timeout=TRAINED_MS)
    strip = card(page, "a").locator(".strip")
    expect(strip.locator("img").first).to_be_visible()
    assert page.locator(".strip-item").count() < 200
    strip.evaluate("(one) => one.scrollTo(0, one.scrollHeight)")
    expect(strip.locator("[aria-posinset='1000'] img")).to_be_visible()
    assert page.locator(".strip-item").count() < 200


def test_asks_for_a_token_where_only_some_may_teach(watched: Watched, tmp_path: Path) -> None:
    token, line = new_token(["infer", "admin"])
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{line}\n", encoding="utf-8")
    tokens.chmod(0o600)
    service = Service(tmp_path, "--tokens", str(tokens))
    service.start()
    try:
        watched.expected.append("401")
        page = watched.page()
        page.goto(f"{service.url}#teach")
        with page.expect_response(
            lambda one: one.status == 401 and "authorization" in one.request.headers
        ) as answer:
            page.locator("#token-field").fill("wrong")
            page.get_by_role("button", name="Use it").click()
        expect(page.locator(".toast.failed span")).to_have_text(answer.value.json()["error"]["message"])
        page.locator("#token-field").fill(token)
        page.get_by_role("button", name="Use it").click()
        begin(page, "guarded")
        page.get_by_label("Name of a new class").fill("discs")
        page.get_by_role("button", name="Add class").click()
        discs = card(page, "discs")
        discs.locator("input[type=file]").set_input_files(
            [{"name": "disc.png", "mimeType": "image/png", "buffer": encoded(disc(1))}]
        )
        # An <img> sends no token: the page has fetched it.
        expect(discs.locator(".strip img")).to_have_attribute("src", re.compile("^blob:"))
    finally:
        service.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(
    watched: Watched, service: Service, accessible: Callable[[Page], None], scheme: str
) -> None:
    page = watched.page(390, 844, color_scheme=scheme)
    page.goto(f"{service.url}#teach")
    expect(page.get_by_label("What is it about?")).to_be_visible()
    accessible(page)
    begin(page, f"phone {scheme}")
    page.get_by_label("Name of a new class").fill("a class whose name is longer than a phone is wide, by far")
    page.get_by_role("button", name="Add class").click()
    page.locator(".class-card input[type=file]").set_input_files(
        [{"name": f"{i}.png", "mimeType": "image/png", "buffer": encoded(disc(i // 2))} for i in range(4)]
    )
    expect(page.locator(".strip-item img")).to_have_count(4)
    expect(page.locator(".warnings li").first).to_be_visible()
    page.get_by_text("All settings").click()
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

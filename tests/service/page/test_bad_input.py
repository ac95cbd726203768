"""What goes wrong in a real browser: the page says the service's own sentence, and what was there stays."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests import optional
from tests.fixtures import encoded, plain
from tests.service.page.conftest import Watched
from tests.service.page.steps import (
    GONE,
    TRAINED_MS,
    add_folder,
    begin,
    card,
    expect_verdict,
    train,
)
from tests.service.page.teaching import Service, cross, disc, write_photos

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

optional.library("playwright.sync_api", extra="browser")
from playwright.sync_api import expect  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
VIDEO = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100)


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members:
            target.writestr(name, content)
    return stream.getvalue()


def give(page: Page, selector: str, *files: tuple[str, bytes]) -> None:
    """Choose files in a dialog."""
    page.locator(selector).first.set_input_files(
        [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
    )


def sentence(response: Response) -> str:
    """Why the service has refused."""
    error = response.json()["error"]["message"]
    assert len(error) > 20
    return str(error)


def is_upload(response: Any) -> bool:
    return bool(re.search(r"/v1/datasets/\w+/images\?", response.url)) and response.request.method == "POST"


def test_archives_that_are_refused_leave_nothing(watched: Watched, service: Service) -> None:
    watched.expected.extend(("400", "422"))
    page = watched.page()
    page.goto(f"{service.url}#teach")
    expect(page.get_by_label("What is it about?")).to_be_visible()
    before = service.ask("v1/datasets")
    photo = plain("red", (8, 8))
    good = archive([("red/one.png", photo), ("blue/one.png", plain("blue"))])
    for name, content, reason in (
        ("climbs.zip", archive([("../../red/one.png", photo)]), "a path that leads out of it"),
        (
            "bomb.zip",
            archive([("red/one.png", bytes(50_000_000))]),
            "no archive of photos is packed like that",
        ),
        (
            "classes.zip",
            archive((f"class {i}/one.png", photo) for i in range(10_000)),
            "10,000 classes; at most 1,000",
        ),
        ("text.zip", b"Dear diary", "no zip archive"),
        ("half.zip", good[: len(good) // 2], "no zip archive"),
        ("texts.zip", archive([("red/one.txt", b"Dear diary")]), ""),
    ):
        with page.expect_response(re.compile(r"/v1/datasets\?")) as answer:
            give(page, "input[accept*=zip]", (name, content))
        assert 400 <= answer.value.status < 500, name
        told = sentence(answer.value)
        assert reason in told
        expect(page.locator(".toast.failed span")).to_have_text(told)
        page.get_by_role("button", name="Close this notice").click()
    assert service.ask("v1/datasets") == before
    give(page, "input[accept*=zip]", ("good.zip", good))
    expect(card(page, "red").locator(".count")).to_have_text("1 photo")


def test_files_that_are_no_photos_are_named_in_teach_and_in_try(watched: Watched, service: Service) -> None:
    watched.expected.extend(("400", "422"))
    page = watched.page()
    page.goto(f"{service.url}#teach")
    begin(page, "files")
    for name in ("<img src=x onerror=alert(1)>", "other"):
        page.get_by_label("Name of a new class").fill(name)
        page.get_by_role("button", name="Add class").click()
        expect(card(page, name)).to_be_visible()
    markup, other = card(page, "<img src=x onerror=alert(1)>"), card(page, "other")
    assert page.locator(".class-card img").count() == 0
    fits = encoded(Image.new("L", (8160, 6120), 128), "JPEG", quality=30)
    larger = encoded(Image.new("L", (8192, 6144), 128), "JPEG", quality=30)
    bad = {"photo.heic": HEIC, "film.jpg": VIDEO, "text.png": b"Dear diary", "larger.jpg": larger}
    with page.expect_response(is_upload) as answer:
        give(
            page, ".class-card input[type=file]",
            *bad.items(), ("fits.jpg", fits), ("disc.png", encoded(disc(1))), ("film.mp4", VIDEO), ("notes.txt", b"x"),
        )  # fmt: skip
    expect(page.locator(".toast")).to_contain_text("2 files are no photos and were left out.")
    expect(markup.locator(".count")).to_have_text("2 photos")
    errors = {one["name"]: one["error"]["message"] for one in answer.value.json()["images"] if "error" in one}
    assert errors.keys() == bad.keys()
    assert "at most 50 megapixels" in errors["larger.jpg"]
    page.locator(".uploading summary").click()
    expect(page.locator(".uploading li")).to_have_text([f"{name} {text}" for name, text in errors.items()])
    expect(markup.locator(".strip img")).to_have_count(2)
    # The same photo in another class.
    give(page, ".class-card:nth-child(2) input[type=file]", ("same.png", encoded(disc(1))))
    expect(page.locator(".warnings")).to_contain_text("in more than one class")
    expect(other.locator(".strip button")).to_have_attribute("aria-label", re.compile("in two classes"))

    page.get_by_role("link", name="Try", exact=True).click()
    give(page, ".try input[type=file]", *bad.items(), ("disc.png", encoded(disc(1))), ("film.mp4", VIDEO))
    expect(page.locator(".toast")).to_contain_text("1 file is no photo and was left out.")
    expect(page.locator(".try .card")).to_have_count(5)
    for name in ("photo.heic", "film.jpg", "text.png"):
        told = page.locator(".try .card", has_text=name).locator(".said .failed")
        expect(told).to_contain_text(name)
    # Try takes larger photos than are kept for teaching, or says why not.
    expect(
        page.locator(".try .card", has_text="larger.jpg").locator(".said .failed, .said .bar-row").first
    ).to_be_visible()
    expect(page.locator(".try .card", has_text="disc.png").locator(".bar-row")).to_have_count(5)


def test_an_interrupted_upload_is_said_and_leaves_no_half(
    watched: Watched, service: Service, tmp_path: Path
) -> None:
    watched.expected.extend(GONE)
    page = watched.page()
    page.goto(f"{service.url}#teach")
    expect(page.get_by_label("What is it about?")).to_be_visible()
    before = service.ask("v1/datasets")
    # A page that is left in the middle of it.
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    slow.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": 20_000})
    red = Image.effect_noise((1000, 1000), 90)
    large = archive([("red/one.png", encoded(red)), ("blue/one.png", encoded(red.rotate(90)))])
    with page.expect_request(re.compile(r"/v1/datasets\?")):
        give(page, "input[accept*=zip]", ("large.zip", large))
    page.reload()
    expect(page.get_by_label("What is it about?")).to_be_visible()
    assert service.ask("v1/datasets") == before
    slow.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": -1})

    # A service that ends in the middle of it: photos go on when it is back, an archive is to be given again.
    begin(page, "interrupted")
    write_photos(tmp_path / "photos", 40)
    slow.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": 20_000})
    with page.expect_request(re.compile("/images")):
        page.locator(".folders input[webkitdirectory]").set_input_files(tmp_path / "photos")
    service.kill()
    slow.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": -1})
    expect(page.get_by_text("The service does not answer; adding goes on when it does.")).to_be_visible()
    give(page, "input[accept*=zip]", ("large.zip", large))
    expect(page.locator(".toast.failed span")).to_have_text("The service does not answer. Is it running?")
    service.start()
    expect(page.locator(".uploading")).to_be_empty()
    for name in ("discs", "crosses"):
        expect(card(page, name).locator(".count")).to_have_text("40 photos")


def test_two_browsers_on_one_set(watched: Watched, service: Service, tmp_path: Path) -> None:
    watched.expected.append("404")
    one = watched.page()
    one.goto(f"{service.url}#teach")
    begin(one, "shared")
    two = watched.page()
    two.goto(one.url)
    expect(two.get_by_role("button", name="Train", exact=True)).to_be_visible()
    write_photos(tmp_path / "one", 24)
    for name, make, first in (("discs", disc, 500), ("crosses", cross, 1500)):
        (tmp_path / "two" / name).mkdir(parents=True)
        for i in range(24):
            (tmp_path / "two" / name / f"{i}.jpg").write_bytes(encoded(make(first + i), "JPEG"))
    for page, folder in ((one, "one"), (two, "two")):
        page.locator(".folders input[webkitdirectory]").set_input_files(tmp_path / folder)
    for page in (one, two):
        expect(card(page, "crosses").locator(".count")).to_be_visible()
        expect(page.locator(".uploading")).to_be_empty()
    for page in (one, two):  # when both are done, for what a page shows is of when it was loaded
        page.reload()
        for name in ("discs", "crosses"):
            expect(card(page, name).locator(".count")).to_have_text("48 photos")

    # Both train: one after the other, and each page sees its own to the end.
    for page in (one, two):
        page.get_by_label("What is trained").select_option("sklearn")
        train(page)
        expect(page.locator(".going:visible, .verdict:visible").first).to_be_visible()
    for page in (one, two):
        expect_verdict(page)

    # What the other has deleted is not here any more, and the page says so.
    two.on("dialog", lambda dialog: dialog.accept())
    two.get_by_role("button", name="Delete it").click()
    expect(two.get_by_label("What is it about?")).to_be_visible()
    one.get_by_label("Name of a new class").fill("late")
    with one.expect_response(re.compile("/classes")) as answer:
        one.get_by_role("button", name="Add class").click()
    assert answer.value.status == 404
    expect(one.locator(".toast.failed span")).to_have_text(sentence(answer.value))


def test_a_disk_without_room_for_a_model_ends_the_training_and_nothing_else(
    watched: Watched, tmp_path: Path
) -> None:
    service = Service(tmp_path, "--disk-limit-gb", "0.006")
    service.start()
    try:
        watched.expected.extend(("507", "422"))
        page = watched.page()
        page.goto(f"{service.url}#teach")
        begin(page, "full")
        write_photos(tmp_path / "photos", 30)
        add_folder(page, tmp_path / "photos")
        train(page)
        expect(page.get_by_text(re.compile("^Training failed: "))).to_be_visible(timeout=TRAINED_MS)
        told: Any = service.ask("v1/jobs")
        (job,) = told["jobs"]
        assert "workspace" in job["error"]
        expect(page.get_by_text(f"Training failed: {job['error']}")).to_be_visible()
        expect(page.locator(".going")).to_be_hidden()
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
        expect(card(page, "discs").locator(".count")).to_have_text("30 photos")
        # Photos that do not fit are named with the same kind of sentence; the service answers as before.
        noise = encoded(Image.effect_noise((3000, 3000), 90))
        give(page, ".class-card input[type=file]", ("large.png", noise))
        page.locator(".uploading summary").click()
        expect(page.locator(".uploading li")).to_contain_text("do not fit: the workspace holds")
        page.get_by_role("link", name="Try", exact=True).click()
        give(page, ".try input[type=file]", ("disc.png", encoded(disc(1))))
        expect(page.locator(".try .bar-row")).to_have_count(5)
    finally:
        service.stop()

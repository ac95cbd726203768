"""A real browser, and services for it. Whatever the browser complains of (the policy, a script) fails the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.front.limits import Limits
from service.registry import Registry
from service.safety import Guard
from service.server import make_server
from service.tokens import Tokens
from tests.service.page.teaching import Service, write_photos
from tests.tuned import tuned_classifier, tuned_regression

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-dev-shm-usage",
    # Its sandbox asks not to be root, as which containers run.
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]
WAIT_MS = 60_000  # until something is there, on a machine that is busy


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts Chromium: the system's, else Playwright's own; without either the tests are skipped."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(program).exists():
            pytest.skip("there is no Chromium; apt-get install chromium, or playwright install chromium")
        browsers: list[Browser] = []

        def start(*flags: str) -> Browser:
            browsers.append(playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags]))
            return browsers[-1]

        yield start
        for browser in browsers:
            browser.close()


@pytest.fixture(scope="session")
def chromium(launch: Callable[..., Browser]) -> Browser:
    return launch()


class Watched:
    """Pages that may complain of nothing."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self.expected: list[str] = []  # parts of complaints that a test provokes

    def page(self, width: int = 1280, height: int = 900, **options: Any) -> Page:
        """A page of a browser that nobody has used before."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("console", lambda one: self._hear(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._hear(str(error)))
        page.add_init_script(
            "window.shifts = 0;"
            "new PerformanceObserver((list) => {"
            "  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifts += one.value;"
            "}).observe({type: 'layout-shift', buffered: true});"
        )
        return page

    def _hear(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.complaints.append(text)

    def close(self) -> None:
        """Close all pages, and fail where something was complained of."""
        for context in self._browser.contexts:
            context.close()
        assert self.complaints == []


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    watched = Watched(chromium)
    yield watched
    watched.close()


@contextlib.contextmanager
def serving(config: ServiceConfig, tokens: Tokens | None = None) -> Iterator[str]:
    """The address of a service in this process."""
    registry = Registry(config)
    registry.load()
    app = create_app(registry=registry, guard=Guard(tokens))
    server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"{server.url}/"
    finally:
        server.stop()
        thread.join()
        registry.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a classifier of three colours in two versions, a regression, and the built-in model."""
    folder = tmp_path_factory.mktemp("models")
    colours = tuned_classifier(folder)
    for version in (1, 2):
        (folder / "served" / "colours" / str(version)).mkdir(parents=True)
        shutil.copy(colours, folder / "served" / "colours" / str(version) / "model.onnx")
    specs = (str(folder / "served"), f"redness={tuned_regression(folder)}", "builtin")
    with serving(ServiceConfig(specs, runtime=RuntimeConfig("cpu", threads=1), measure_s=0.0)) as url:
        yield url


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of discs and one of crosses, 30 of each."""
    write_photos(tmp_path / "photos", 30)
    return tmp_path / "photos"


@pytest.fixture
def page(watched: Watched, service: Service) -> Page:
    """Teach, with nothing in it yet but what other tests made."""
    page = watched.page()
    page.goto(f"{service.url}#teach")
    return page


@pytest.fixture
def accessible() -> Callable[[Page], None]:
    """Fails where axe-core finds a barrier."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")

    def check(page: Page) -> None:
        page.emulate_media(reduced_motion="reduce")  # between two colours the contrast of a button is less
        results = axe.Axe().run(page)
        page.emulate_media(reduced_motion="no-preference")
        assert results.violations_count == 0, results.generate_report()

    return check

"""A browser for tests of the page: one for a module, a context for each test, and nothing wrong in its console."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labelling.page_server import FakeProject, Server, serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="the page is not tested: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("the page is not tested: there is no chromium on this machine")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """`opened(url, phone=False, failures=False, **context)` -> a page, whose console must be clean at the end.

    `failures`: requests fail on purpose here, which the browser writes to its console.
    """
    contexts, wrong = [], []

    def note(text: str, failures: bool) -> None:
        if not (failures and text.startswith("Failed to load resource")):
            wrong.append(text)

    def open_(
        url: str, *, phone: bool = False, failures: bool = False, context: Any = None, wait: bool = True, **options: Any
    ) -> Any:
        if context is None:
            size = SIZES["phone" if phone else "desktop"]
            context = browser.new_context(viewport=size, is_mobile=phone, has_touch=phone, **options)
            context.set_default_timeout(10_000)
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: note(line.text, failures) if line.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        if wait:
            page.wait_for_selector("#picture img")
        return page

    yield open_
    for context in contexts:
        context.close()
    if wrong:
        pytest.fail(f"in the console: {wrong}")


@pytest.fixture
def project() -> FakeProject:
    return FakeProject()


@pytest.fixture
def start() -> Iterator[Callable[[FakeProject], str]]:
    servers: list[Server] = []

    def begin(project: FakeProject) -> str:
        servers.append(serve(project, width=160))
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def until(true: Callable[[], Any], seconds: float = 8.0) -> None:
    """Waits for something outside the page."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def press(page: Any, *keys: str) -> None:
    """Each key on an image that is on the screen."""
    for key in keys:
        page.wait_for_selector("#picture img")
        page.keyboard.press(key)


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => rgba(color).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const under = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled || node.closest(".tile, .unseen, svg")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(under(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push([node.innerText, (a + .05) / (b + .05)]);
  }
  return faint;
}"""


def faint(page: Any) -> Any:
    """Texts with less than 4.5 : 1 to what is under them (WCAG AA)."""
    return page.evaluate(CONTRAST)

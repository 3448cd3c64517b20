"""From an empty project to an export, in a real browser over the real server, which is killed on the way."""

from __future__ import annotations

import csv
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labelling.browser import Opened, browser, opened, press, until
from labelling.photos import CLASSES, write_photos

__all__ = ["browser", "opened"]  # fixtures
pytest.importorskip("fastapi", reason="the labelling server is not tested: pip install 'labelwise[label]'")
BUDGET = 30


class Labelling:
    """`labelwise label` as a process of its own, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> str:
        """Return the link that it prints."""
        command = [sys.executable, "-m", "labelwise", "label", str(self.folder), "--classes", ",".join(CLASSES)]
        options = ["--budget", str(BUDGET), "--port", str(self.port), "--no-browser"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
        )
        assert self.process.stdout
        return next(word for line in self.process.stdout for word in line.split() if word.startswith("http"))

    def kill(self) -> None:
        """kill -9: the server and the processes behind it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout
        if not self.process.stdout.closed:
            self.process.stdout.close()

    def read(self, question: str) -> list[Any]:
        database = sqlite3.connect(f"file:{self.folder}.labelwise/project.db?mode=ro", uri=True)
        try:
            return database.execute(question).fetchall()
        finally:
            database.close()


@pytest.fixture
def labelling(tmp_path: Path) -> Iterator[Labelling]:
    write_photos(tmp_path / "photos", 60, 160)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    server = Labelling(tmp_path / "photos")
    yield server
    server.kill()


class Person:
    """Looks at the image on the page and knows what it shows."""

    def __init__(self, page: Any, truth: dict[int, str]) -> None:
        self.page, self.truth, self.given = page, truth, 0

    def label(self) -> None:
        """Give the shown image its label, once it is there, and wait for the next one."""
        self.page.wait_for_selector("#picture img", timeout=60_000)  # processes start slowly on a busy machine
        image = int(self.page.locator("#picture img").get_attribute("data-image"))
        press(self.page, str(1 + CLASSES.index(self.truth[image])))
        self.given += 1


@pytest.mark.slow
def test_from_an_empty_project_to_an_export(opened: Opened, labelling: Labelling) -> None:
    truth = write_photos(labelling.folder, 60, 160)
    page = opened(labelling.start(), failures=True)
    assert page.url == f"http://127.0.0.1:{labelling.port}/"  # the token is gone from the address
    shown = {image: truth.get(path, "") for image, path in labelling.read("select id, path from images")}
    person = Person(page, shown)
    assert page.locator("#badge").inner_text() == "Test image"
    for _ in range(4):
        person.label()
    page.reload()
    press(page, "u")
    person.label()
    size = int(page.evaluate("fetch('/api/state?annotator=me').then((r) => r.json()).then((s) => s.test.size)"))
    for _ in range(size - 4):
        person.label()
    until(
        lambda: page.evaluate("fetch('/api/state?annotator=me').then((r) => r.json()).then((s) => s.test.done)") == size
    )

    page.wait_for_selector("#picture img")
    fetched = "performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/view')).length"
    until(lambda: page.evaluate(fetched) > size + 3)  # after the reload: the rest of the slice, and what is ahead
    labelling.kill()  # at any moment: what waits in the page is sent to the next server
    person.label()
    person.label()
    page.locator("#banner", has_text="2 answers wait in this browser").wait_for()
    link = labelling.start()
    page.get_by_text("Open the link from the terminal again").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(link)
    count = "select count(*) from events where kind = 'label'"
    until(lambda: labelling.read(count) == [(size + 3,)])  # four, one of them again after undo, and two
    assert labelling.read("select count(*) from events where kind = 'undo'") == [(1,)]
    finish(page, person, labelling)


def finish(page: Any, person: Person, labelling: Labelling) -> None:
    """A model, the grid, another class, the rest of the budget, and the export."""
    for _ in range(6):
        person.label()
    page.locator("#numbers", has_text="right on").wait_for(timeout=90_000)
    press(page, "g")
    page.locator("#grid-class").wait_for()
    for name in CLASSES:
        page.select_option("#grid-class", label=f"{CLASSES.index(name) + 1}  {name}")
        page.wait_for_selector("#grid:not([aria-busy])")
        if page.locator(".tile").count():
            break
    chosen = [int(tile.get_attribute("data-image")) for tile in page.locator(".tile").all()]
    for image in chosen[2:]:
        page.locator(f".tile[data-image='{image}']").click()  # left out
    page.keyboard.press("Enter")
    page.locator("#grid", has_text="labelled. Undo").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Classes").click()
    page.get_by_label("New class").fill("boat")
    page.keyboard.press("Enter")
    page.get_by_text("Added: boat.").wait_for()
    page.keyboard.press("Escape")
    done = page.get_by_role("heading", name="Done")
    end = time.monotonic() + 120
    while not done.is_visible():
        assert time.monotonic() < end, page.locator("#main").inner_text()
        if page.locator("#picture img").is_visible():
            person.label()
        page.wait_for_timeout(30)
    assert "1 file could not be read" in page.locator("#panel").inner_text()
    page.get_by_role("button", name="Export the labels").click()
    page.get_by_role("button", name="Write it").click()
    page.locator("#export-path").wait_for(timeout=60_000)
    written = Path(page.locator("#export-path").inner_text())
    table = written if written.is_file() else next(written.glob("*.csv"))
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "label"]
    assert {row["path"] for row in rows} <= {path for (path,) in labelling.read("select path from images")}
    assert len({row["path"] for row in rows}) >= BUDGET

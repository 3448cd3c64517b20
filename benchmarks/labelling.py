"""How long the labelling page keeps people waiting; writes docs/benchmarks-labelling.md.

First image: from the command to the first picture in hand, for 1,000 and 50,000 photos. Rounds: the engine's round over
50,000 embeddings. Keys: from the key to the frame that shows the next image, in Chromium, while rounds run.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from labelwise.cache import Rows
from labelwise.labelling.messages import Job, Judged, Picked
from labelwise.labelling.training import Trainer

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks-labelling.md"
TEXT = Path(__file__).with_suffix(".md")
CLASSES = [f"class {k}" for k in range(8)]
ROWS, FEATURES, LABELS, TESTS = 50_000, 1_280, 500, 100
KEYS, SECONDS_A_KEY = 300, 0.4
CHROMIUM = "/usr/bin/chromium"


def make_photos(folder: Path, count: int, side: int = 64) -> Path:
    """Write `count` JPEGs that all differ: smooth noise, 64 pixels a side, so that 50,000 are made in a minute."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:05}.jpg", quality=80)
    return folder


@contextmanager
def labelling(folder: Path, home: Path, *options: str) -> Iterator[tuple[str, float]]:
    """Run `labelwise label`; yields its link and the time of the command."""
    command = [sys.executable, "-m", "labelwise", "label", str(folder), "--classes", ",".join(CLASSES), "--project",
               str(home), "--no-browser", *options]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout is not None
    try:
        link = re.search(r"http\S+", process.stdout.readline())
        assert link is not None
        yield link.group(), started
    finally:
        process.terminate()
        process.wait()


def first_image(folder: Path, home: Path) -> float:
    """Return the seconds from the command to the first picture's bytes."""
    with labelling(folder, home) as (link, started), httpx.Client() as http:
        base = link.split("/?")[0]
        http.get(link)
        offer = http.get(f"{base}/api/next", params={"annotator": "me", "n": 1}).json()["offers"][0]
        picture = http.get(f"{base}/api/images/{offer['image']}/view")
        seconds = time.perf_counter() - started
        assert picture.headers["content-type"] == "image/jpeg", picture.text
        return seconds


def rounds(folder: Path) -> tuple[float, float]:
    """Return the seconds until new picks are there, and until all is judged, over 50,000 embeddings: a second round."""
    rng = np.random.default_rng(0)
    truth = rng.integers(len(CLASSES), size=ROWS)
    centres = rng.standard_normal((len(CLASSES), FEATURES), dtype=np.float32)
    hashes = rng.integers(1, 256, (ROWS, 32)).astype(np.uint8)
    with Rows(folder / "store", FEATURES) as store:
        for start in range(0, ROWS, 5_000):
            rows = 0.15 * centres[truth[start : start + 5_000]] + rng.standard_normal(
                (5_000, FEATURES), dtype=np.float32
            )
            store.put(hashes[start : start + 5_000], rows.astype("<f2"), 0.0, np.full(5_000, -1))
    order = rng.permutation(ROWS)
    test, train, pool = np.sort(order[:TESTS]), order[TESTS : TESTS + LABELS], np.sort(order[TESTS + LABELS :])

    def job(labels: int) -> Job:
        every = np.arange(labels)
        return Job(
            0, str(folder / "store"), hashes, FEATURES, tuple(range(len(CLASSES))),
            train[:labels], truth[train[:labels]],
            every // 20, every % 5 == 0, every % 5 > 0, test, truth[test], pool, "margin", {}, 40, 20, 0, 1.5, 0,
        )  # fmt: skip

    trainer, took = Trainer(), dict[type, float]()
    trainer.train(job(LABELS - 20), lambda _: None)
    started = time.perf_counter()

    def hear(found: Picked | Judged) -> None:
        took[type(found)] = time.perf_counter() - started

    trainer.train(job(LABELS), hear)
    return took[Picked], took[Judged]


def keys(folder: Path, home: Path) -> tuple[np.ndarray[Any, Any], int]:
    """Return milliseconds from key to frame, of labels given while rounds run, and how many rounds ran."""
    from playwright.sync_api import sync_playwright

    with labelling(folder, home, "--budget", "5000") as (link, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(link)
        page.wait_for_selector("img")
        state: dict[str, Any] = {}
        rng = np.random.default_rng(1)
        while state.get("phase") != "train" or not state.get("model"):  # through the test slice, to the first model
            page.keyboard.press(str(1 + rng.integers(len(CLASSES))))
            page.wait_for_timeout(120)
            state = page.evaluate("fetch('/api/state?annotator=me').then(r => r.json())")
        first = state["model"]["round"]
        page.evaluate("performance.clearMeasures()")
        for _ in range(KEYS):
            page.keyboard.press(str(1 + rng.integers(len(CLASSES))))
            page.wait_for_timeout(1000 * SECONDS_A_KEY)
        took = page.evaluate("performance.getEntriesByType('measure').map(entry => entry.duration)")
        last = page.evaluate("fetch('/api/state?annotator=me').then(r => r.json())")["model"]["round"]
        browser.close()
        return np.array(took), last - first


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print("making 50,000 photos", flush=True)
        many = make_photos(root / "many", ROWS)
        few = make_photos(root / "few", 1_000)
        small = [first_image(few, root / f"few-{i}") for i in range(3)]
        large = [first_image(many, root / f"many-{i}") for i in range(3)]
        print(f"first image: {small} of 1,000, {large} of 50,000", flush=True)
        picked, judged = rounds(root)
        print(f"round: picks after {picked:.2f} s, judged after {judged:.2f} s", flush=True)
        took, ran = keys(many, root / "keys")
        print(f"keys: {len(took)}, {ran} rounds", flush=True)
    PAGE.write_text(_page(small, large, picked, judged, took, ran))


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"


def _page(
    small: list[float], large: list[float], picked: float, judged: float, took: np.ndarray[Any, Any], ran: int
) -> str:
    values = {
        "MACHINE": _machine(), "SMALL": f"{max(small):.1f}", "LARGE": f"{max(large):.1f}", "PICKED": f"{picked:.2f}",
        "JUDGED": f"{judged:.1f}", "MEDIAN": f"{np.median(took):.0f}", "HIGH": f"{np.quantile(took, 0.99):.0f}",
        "MOST": f"{took.max():.0f}", "KEYS": str(len(took)), "ROUNDS": str(ran),
    }  # fmt: skip
    text = TEXT.read_text()
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


if __name__ == "__main__":
    main()

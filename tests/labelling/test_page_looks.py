"""The page's looks and ways in: numbers in words, phone, both themes, keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest

from labelling.browser import Opened, browser, faint, opened, press, project, start, until
from labelling.page_server import FakeProject

__all__ = ["browser", "opened", "press", "project", "start"]  # fixtures, and what the tests use

TWELVE = (
    "plane",
    "car",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
    "great grebe",
    "traffic light",
)
NUMBERS: dict[str, Any] = {
    "accuracy": {"value": 0.81, "low": 0.72, "high": 0.88, "n": 100},
    "model": {"round": 3, "labels": 45, "age_seconds": 12.0, "training": True},
    "work": [{"what": "reading images", "done": 300, "total": 1000}],
    "curve": [
        {"round": 0, "labels": 20, "accuracy": 0.6, "low": 0.5, "high": 0.69},
        {"round": 1, "labels": 40, "accuracy": 0.81, "low": 0.72, "high": 0.88},
    ],
    "advice": {"say": "stop", "why": "The next 20 labels take 28 seconds and should bring 0.1 points."},
    "helping": {"say": "yes", "why": "At 24 labels each: 79 % and 74 %."},
    "consistency": {"same": 9, "asked": 10},
    "agreement": {"cohen": 0.8, "fleiss": None, "images": 20},
}


def test_the_numbers_in_words(opened: Opened, project: FakeProject, start: Any) -> None:
    project.state = {**NUMBERS, "seconds_per_label": 1.4, "minutes_left": 3.2}
    page = opened(start(project))
    texts = [text.replace("\xa0", " ") for text in page.locator("#numbers li").all_inner_texts()]
    assert texts[:3] == ["1.4 s a label", "3 min left", "81 % right on 100 random images (72 to 88)"]
    assert texts[3] == "12 s old model, training the next"
    assert page.locator("#work").inner_text() == "Reading images: 300 of 1,000"
    panel = page.locator("#panel").inner_text()
    for words in ("You can stop", "should bring 0.1 points", "At 24 labels each", "9 of 10 repeated images"):
        assert words in panel
    page.get_by_text("The numbers as a table").click()
    assert page.locator("#panel tbody tr").all_inner_texts()[1].replace("\xa0", " ").split("\t") == [
        "40",
        "81 %",
        "72 % to 88 %",
    ]
    assert "81" in page.locator("svg.curve").get_attribute("aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_keys_and_no_sideways_scroll(opened: Opened, start: Any, scheme: str) -> None:
    project = FakeProject(classes=TWELVE, test=0)
    project.state = {**NUMBERS, "seconds_per_label": 1.4, "minutes_left": 3.2, "review": 2}
    page = opened(start(project), phone=True, color_scheme=scheme)
    small = """[...document.querySelectorAll("button, [role=option]")].filter((it) => it.checkVisibility())
      .map((it) => {
        const {width, height} = it.getBoundingClientRect(); return [it.innerText, width, height];
    }).filter(([, width, height]) => width < 44 || height < 44)"""
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert page.evaluate(small) == []
    assert not page.evaluate(wide)
    page.get_by_role("button", name="bird").tap()
    page.get_by_role("button", name="3 more").tap()
    page.get_by_role("option", name="truck").tap()
    until(lambda: project.labels() == {1: 2, 2: 9})
    page.get_by_role("button", name="Undo").tap()
    until(lambda: project.labels() == {1: 2})
    for name in ("Grid", "Review", "Classes", "Export", "Settings", "Keys"):
        page.get_by_role("button", name="Menu").tap()
        page.locator("#menu").get_by_role("button", name=name).tap()
        page.wait_for_timeout(100)
        assert not page.evaluate(wide), name
        assert page.evaluate(small) == [], name
        page.locator("dialog[open]").get_by_role("button", name="Close").tap()
    page.get_by_role("button", name="Menu").tap()
    page.get_by_role("button", name="Progress, learning curve").tap()
    assert page.locator("svg.curve").is_visible()
    assert not page.evaluate(wide)
    page.get_by_role("button", name="Close the panel").tap()
    assert faint(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_in_both_themes(opened: Opened, project: FakeProject, start: Any, scheme: str) -> None:
    project.state = {
        **NUMBERS,
        "seconds_per_label": 1.4,
        "minutes_left": 3.2,
        "review": 2,
        "problem": "The model failed.",
    }
    page = opened(start(project), color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 23, 27)") == (scheme == "dark")
    assert faint(page) == []
    for name in ("classes", "export", "settings", "help", "review"):
        page.evaluate("(name) => document.querySelector(`[data-do=${name}]`).click()", name)
        page.wait_for_timeout(60)
        assert faint(page) == [], name


def test_the_keyboard_alone_reaches_everything(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.dataset.do ?? document.activeElement.dataset.class ?? document.activeElement.id"
            )
        )
    assert {
        "grid",
        "review",
        "classes",
        "export",
        "settings",
        "help",
        "panel",
        "stage",
        "0",
        "3",
        "unsure",
        "skip",
        "undo",
    } <= reached
    page.focus("[data-do=help]")
    page.keyboard.press("Enter")
    assert page.locator("#help").is_visible()
    page.keyboard.press("1")  # in a dialog, digits are not labels
    page.keyboard.press("Escape")
    until(lambda: page.evaluate("document.activeElement.id") == "stage")
    page.focus("#classes [data-class='2']")
    page.keyboard.press("Enter")
    until(lambda: project.labels() == {1: 2})
    page.keyboard.down("1")
    page.keyboard.down("1")  # a key held down labels once
    page.keyboard.up("1")
    until(lambda: len(project.labels()) == 2)
    page.wait_for_timeout(100)
    assert project.labels() == {1: 2, 2: 0}
    page.keyboard.press("Control+1")
    assert len(project.events) == 2


def test_what_a_screen_reader_is_told(opened: Opened, project: FakeProject, start: Any) -> None:
    """The focus is in a toolbar: Orca and NVDA hand keys on there by themselves. Its answers are its buttons."""
    page = opened(start(project))
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    nodes = {node["nodeId"]: node for node in tree}

    def told(node: dict[str, Any]) -> tuple[str, str]:
        return node.get("role", {}).get("value", ""), node.get("name", {}).get("value", "")

    def inside(node: dict[str, Any]) -> list[tuple[str, str]]:
        below = [nodes[child] for child in node.get("childIds", [])]
        return [told(node), *(found for child in below for found in inside(child))]

    focused = [
        n
        for n in tree
        if {"name": "focused", "value": {"type": "booleanOrUndefined", "value": True}} in n.get("properties", [])
    ]
    bar = next(node for node in focused if told(node)[0] == "toolbar")
    assert told(bar)[1].startswith("Image to label: digits label it")
    buttons = [name for role, name in inside(bar) if role == "button"]
    assert buttons == [*(cls["name"] for cls in project.classes), "Unsure", "Skip", "Undo"]
    press(page, "1")
    until(project.labels)
    said = f"Labelled {project.classes[0]['name']}. Next image."
    assert page.get_by_role("status").filter(has_text=said).count() == 1


BROKEN = """[...document.querySelectorAll("#classes .name")].filter((node) => node.checkVisibility())
  .flatMap((node) => [...node.firstChild.data.matchAll(/[a-z]+/g)].map((word) => {
    const range = document.createRange();
    range.setStart(node.firstChild, word.index);
    range.setEnd(node.firstChild, word.index + word[0].length);
    return [word[0], new Set([...range.getClientRects()].map(({top}) => top)).size];
  })).filter(([, lines]) => lines > 1)"""
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 640), (844, 390), (667, 375)])
def test_words_are_whole_and_the_image_is_large(opened: Opened, start: Any, size: tuple[int, int]) -> None:
    project = FakeProject(classes=TEN, test=0)
    project.state = {**NUMBERS, "seconds_per_label": 1.4, "minutes_left": 3.2}
    page = opened(start(project), phone=size[0] < 1000)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_timeout(100)
    assert page.evaluate(BROKEN) == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    high = page.locator("#picture").bounding_box()["height"]
    assert high > size[1] * (0.7 if size[1] < 480 else 0.25) or size[0] < 390
    row = [page.locator(f"#{part}").bounding_box() for part in ("badge", "suggestion")]
    assert row[1]["y"] < row[0]["y"] + row[0]["height"], "the suggestion is in the badge's row"
    for name in ("Unsure", "Skip", "Undo"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["y"] + box["height"] <= size[1], name

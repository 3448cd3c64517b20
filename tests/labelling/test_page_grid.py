"""The grid of one predicted class."""

from __future__ import annotations

from typing import Any

from labelling.browser import Opened, browser, opened, press, start, until
from labelling.page_server import WHY_NOT, FakeProject

__all__ = ["browser", "opened", "start"]  # fixtures


def test_the_grid_takes_all_but_the_exceptions(opened: Opened, start: Any) -> None:
    project = FakeProject(images=30, test=0)
    project.state = {"model": {"round": 1, "labels": 20, "age_seconds": 0.5, "training": False}}
    page = opened(start(project))
    press(page, "g")
    page.locator(".tile").first.wait_for()
    page.select_option("#grid-class", label="2  lake")
    until(lambda: page.locator(".tile").count() == 8)  # images 29, 25, ... 1
    page.locator(".tile").first.wait_for()
    page.wait_for_timeout(100)
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    assert page.locator(".tile").nth(0).get_attribute("aria-label") == "Image 1 of 8, exception: left out"
    assert page.locator(".tile").nth(1).get_attribute("aria-label") == "Image 2 of 8, exception: trees"
    page.locator(".tile").nth(2).click()
    page.locator(".tile").nth(2).click()  # a second click takes the mark away
    page.keyboard.press("Enter")
    until(lambda: len(project.labels()) == 7)
    assert project.labels() == {25: 3, **dict.fromkeys((1, 5, 9, 13, 17, 21), 1)}
    assert {event["purpose"] for event in project.events.values()} == {"grid"}
    page.locator("#grid", has_text="takes no other unlabelled image").wait_for()
    assert page.locator(".tile").count() == 0, "what was left out does not come back"
    page.keyboard.press("Escape")
    press(page, "u")  # the whole grid
    until(lambda: project.labels() == {})


def test_a_grid_before_there_is_a_model_says_why_it_is_empty(opened: Opened, start: Any) -> None:
    project = FakeProject(images=9, test=9)
    page = opened(start(project))
    press(page, "g")
    words = f"Nothing is predicted as flower: your labels have not trained a model yet. {WHY_NOT}"
    page.locator("#grid", has_text=words).wait_for()
    assert "most sure of" not in page.locator("#grid").inner_text()
    assert page.locator("#grid-accept").is_hidden()
    page.keyboard.press("Escape")
    model = {"round": 1, "labels": 20, "age_seconds": None, "training": False}
    project.state = {"model": model, "no_model": None}
    page.locator("#panel", has_text="from before the last start").wait_for()
    press(page, "g")
    page.locator("#grid", has_text="from before the last start is trained again now").wait_for()

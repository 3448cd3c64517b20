"""The page while others change the project, and while the server is away: nothing happens unsaid."""

from __future__ import annotations

from typing import Any

from labelling.browser import Opened, browser, opened, press, project, start, until
from labelling.page_server import FakeProject

__all__ = ["browser", "opened", "project", "start"]  # fixtures


def test_a_merge_is_confirmed_and_taken_back(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    press(page, "2", "2", "3")
    until(lambda: len(project.labels()) == 3)
    page.get_by_role("button", name="Classes").click()
    page.get_by_role("button", name="Merge lake").click()
    page.get_by_label("Merge lake into").select_option("flower")
    page.get_by_role("button", name="Merge...", exact=True).click()
    asked = page.locator("#class-list .edit")
    asked.get_by_role("heading", name="Merge lake into flower?").wait_for()
    words = asked.inner_text()
    assert "2 labels of lake will count as flower, whoever gave them." in words
    assert "For everybody who labels here, keys change: temple 2, trees 3." in words
    page.get_by_role("button", name="Do not merge").click()
    assert "classes" not in [name for name, _ in project.requests]
    page.get_by_role("button", name="Merge lake").click()
    page.get_by_label("Merge lake into").select_option("flower")
    page.get_by_role("button", name="Merge...", exact=True).click()
    page.get_by_role("button", name="Merge", exact=True).click()
    page.locator("#class-merge", has_text="lake was merged into flower.").wait_for()
    page.keyboard.press("Escape")
    press(page, "u")
    until(lambda: len(project.labels()) == 2)
    page.locator("#undo-what", has_text="lake").wait_for()  # what was pressed, though it is no class of its own
    page.get_by_role("button", name="Classes").click()
    page.get_by_role("button", name="Take the merge of lake into flower back").click()
    page.get_by_text("lake is a class of its own again, with its labels and its key.").wait_for()
    page.locator("#class-merge").wait_for(state="hidden")
    page.keyboard.press("Escape")
    assert page.locator("#classes .name").all_inner_texts() == ["flower", "lake", "temple", "trees"]
    said = page.locator("#note").inner_text() + page.locator("#alert").inner_text()
    assert "changed" not in said, "no news to oneself"
    sent = [body for name, body in project.requests if name == "classes"]
    assert [change["kind"] for change in sent] == ["merge", "unmerge"]
    assert sent[1]["undoes"] == sent[0]["uuid"]


def test_a_change_of_classes_by_somebody_else_is_said(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    with project.lock:
        project.merge("x", 1, 0)
    until(lambda: page.locator("#classes .class").count() == 3)
    page.keyboard.press("2")  # meant lake, and would be temple
    page.locator("#note", has_text="The key 2 is temple now: press it again to label.").wait_for()
    words = "The classes have changed: lake is part of flower now. Keys now: temple 2, trees 3."
    assert page.get_by_role("alert").filter(has_text=words).count() == 1
    assert project.events == {}
    page.get_by_role("button", name="Settings").click()
    with project.lock:
        project.classes, project.merged = project.before, None
        project.classes[3]["name"] = "wood"
    until(lambda: page.locator("#classes .class").count() == 4)
    page.keyboard.press("Escape")  # behind a dialog nobody would hear it
    page.get_by_text("lake is a class of its own again, key 2; trees is called wood now.").first.wait_for()
    page.wait_for_timeout(1600)
    press(page, "3")
    until(lambda: project.labels() == {1: 2})


def said_by(anna: int, ben: int) -> list[dict[str, Any]]:
    return [{"annotator": "anna", "class": anna}, {"annotator": "ben", "class": ben}]


def test_the_review_follows_what_others_decide(opened: Opened, project: FakeProject, start: Any) -> None:
    project.reviews = [{"image": image, "answers": said_by(3, 1)} for image in (7, 8, 9)]
    page = opened(start(project))
    page.get_by_role("button", name="Review").click()
    page.get_by_text("3 disagreements left").wait_for()
    with project.lock:  # somebody else is faster
        project.refuse[7] = "anna has decided it already, as trees; nothing was changed"
        del project.reviews[0]
    page.keyboard.press("2")
    page.locator("#review-said", has_text="Not accepted: anna has decided it already, as trees").wait_for()
    page.get_by_text("2 disagreements left").wait_for()
    said = page.locator("#review").get_by_role("status")
    assert said.inner_text().startswith("Not accepted: anna has decided it already")
    with project.lock:
        del project.reviews[0]
        project.state = {"version": 99}
    page.locator("#review-said", has_text="Somebody else has decided the image that was here.").wait_for()
    page.get_by_text("1 disagreement left").wait_for()
    page.keyboard.press("2")  # on its way for the image before
    page.wait_for_timeout(1100)
    assert project.labels() == {}
    page.keyboard.press("3")
    page.get_by_text("There is no disagreement to decide.", exact=True).wait_for()
    until(lambda: project.labels() == {9: 2})
    page.keyboard.press("Escape")
    assert page.locator("#note").is_hidden(), "it was said already"


def test_a_review_without_the_server_says_so(opened: Opened, project: FakeProject, start: Any) -> None:
    project.reviews = [{"image": 7, "answers": said_by(3, 1)}]
    page = opened(start(project), failures=True)
    page.context.set_offline(True)
    page.get_by_role("button", name="Review").click()
    words = "The labelwise server does not answer. The disagreements cannot be loaded now."
    page.locator("#review-none", has_text=words).wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("1 disagreement left").wait_for()


def test_without_a_connection_and_an_image_nothing_can_go_on(opened: Opened, start: Any) -> None:
    project = FakeProject(images=40)
    page = opened(start(project), failures=True)
    until(lambda: len(project.served) >= 12)
    page.wait_for_timeout(300)
    page.context.set_offline(True)
    given = 0
    while page.locator("#picture img").count():
        press(page, "1")
        given += 1
    page.locator("#banner", has_text="No more images are loaded: labelling goes on when it answers again.").wait_for()
    assert f"{given} answers wait in this browser" in page.locator("#banner").inner_text()
    assert "go on labelling" not in page.locator("#banner").inner_text()


def test_the_count_never_counts_a_label_twice(opened: Opened, project: FakeProject, start: Any) -> None:
    """The server has a label before it acknowledges it, and says so when it is asked meanwhile."""
    page = opened(start(project), failures=True)
    project.deaf = 3
    press(page, "1", "2", "3")
    done = page.locator("#done")
    until(lambda: len(project.events) == 3)
    page.get_by_role("button", name="Try now").click()  # asks for the state, too
    seen = []
    for _ in range(60):
        seen.append(done.inner_text())
        page.wait_for_timeout(50)
    assert set(seen) == {"3"}
    until(lambda: page.locator("#banner").is_hidden())
    press(page, "u")
    until(lambda: done.inner_text() == "2")
    page.wait_for_timeout(1500)
    assert done.inner_text() == "2"


def test_who_labels_is_asked_before_images_are(opened: Opened, project: FakeProject, start: Any) -> None:
    """Or the first images would be held by somebody who is not there."""
    project.state = {"project": {"overlap": 2}, "people": [{"name": "Anna", "labels": 3}]}
    page = opened(start(project), wait=False)
    page.locator("#name-dialog").wait_for()
    page.wait_for_timeout(1500)  # the state was asked for again meanwhile
    assert "next" not in [name for name, _ in project.requests]
    page.locator("#name").fill("anna")  # she who is there: another spelling would be another person
    page.keyboard.press("Enter")
    page.wait_for_selector("#picture img")
    press(page, "1")
    until(lambda: project.events)
    assert {event["annotator"] for event in project.events.values()} == {"Anna"}


def test_images_that_others_had_come_by_themselves(opened: Opened, project: FakeProject, start: Any) -> None:
    images, project.images = project.images, []
    project.state = {"phase": "nothing", "project": {"images": 60}}
    page = opened(start(project), wait=False)
    page.get_by_role("heading", name="Nothing left to label now").wait_for()
    said = page.get_by_role("status").filter(has_text="Nothing left to label now. Every image is labelled")
    assert said.count() == 1
    project.waiting = {"people": ["Anna", "ben"], "images": 7, "checks": False}
    page.get_by_text("Anna and ben have 7 images open. What they do not label comes here by itself.").first.wait_for()
    project.images = images
    page.wait_for_selector("#picture img")


def test_the_page_goes_on_asking_after_a_question_of_its_own(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    with page.expect_response("**/api/state*"):  # the first of those that come by themselves
        pass
    page.get_by_role("button", name="Classes").click()
    page.get_by_label("New class").fill("river")
    page.get_by_role("button", name="Add", exact=True).click()  # which asks for the state
    page.get_by_text("Added: river.").wait_for()
    for _ in range(2):
        with page.expect_response("**/api/state*", timeout=10_000):
            pass


def test_what_is_asked_again_goes_when_the_classes_change(opened: Opened, project: FakeProject, start: Any) -> None:
    project.purposes = {image: {"purpose": "again"} for image in (1, 2)}
    page = opened(start(project))
    page.locator("#picture img[data-image='1']").wait_for()
    with project.lock:
        project.purposes = {}
        project.merge("x", 1, 0)
    page.locator("#picture img[data-image='3']").wait_for()

"""The page in a real browser, over a small server that speaks its protocol."""

from __future__ import annotations

from statistics import median
from typing import Any

from labelling.browser import Opened, browser, opened, press, project, start, until
from labelling.page_server import WHY_NOT, FakeProject

__all__ = ["browser", "opened", "project", "start"]  # fixtures

HOSTILE = "<img src=x onerror=alert(1)>"
TWELVE = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", "great grebe", "écluse")


def waiting(page: Any) -> int:
    found = page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('labelwise.out.')).length")
    return int(found)


def test_keys_label_and_the_next_image_comes_at_once(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    until(lambda: len(project.served) >= 9)  # the shown image and eight ahead
    page.wait_for_timeout(300)  # for the last of them to be decoded
    press(page, "1", "2", "0", "s", "4", "3", "2", "1")
    until(lambda: len(project.events) == 8)
    first, second, third, fourth = list(project.events.values())[:4]
    assert (first["image"], first["kind"], first["class"], first["purpose"]) == (1, "label", 0, "test")
    assert (second["class"], third["kind"], third["class"], fourth["kind"]) == (1, "unsure", None, "skip")
    assert 0 < second["seconds"] < 5
    assert (first["shown"], first["suggested"]) == (False, None)  # the test slice is blind
    sixth = list(project.events.values())[5]
    assert (sixth["purpose"], sixth["shown"], sixth["suggested"]) == ("picked", True, 6 % 4)
    assert project.received == 8
    until(lambda: waiting(page) == 0)
    times = page.evaluate("performance.getEntriesByName('labelwise:next').map((entry) => entry.duration)")
    assert len(times) == 8  # none had to wait for its image
    assert median(times) < 50
    assert page.locator("#live").inner_text().startswith("Labelled flower. Next image. Picked. Suggestion:")


def test_undo_goes_back_also_after_a_reload(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project))
    press(page, "1", "2", "3", "u")
    assert page.locator("#live").inner_text() == "Undone: labelled temple. Next image. Test image."
    press(page, "4")
    until(lambda: project.labels() == {1: 0, 2: 1, 3: 3})
    page.reload()
    press(page, "u", "u", "u")
    until(lambda: project.labels() == {})
    press(page, "2")  # image 1 again: the one that was undone last
    until(lambda: project.labels() == {1: 1})
    press(page, "u", "u")
    page.locator("#note", has_text="nothing to undo").wait_for()
    assert project.labels() == {}


def test_unsent_labels_survive_a_reload(opened: Opened, project: FakeProject, start: Any) -> None:
    url = start(project)
    page = opened(url, failures=True)
    project.fail["answers"] = 507
    press(page, "1", "2", "u", "3")
    page.locator("#banner", has_text="The server cannot store labels at the moment").wait_for()
    page.locator("#banner", has_text="4 answers wait").wait_for()
    assert project.events == {}
    page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    page.reload()
    assert waiting(page) == 4
    page.goto("about:blank")  # or the old page sends them before it goes
    del project.fail["answers"]
    project.requests.clear()
    page.goto(url)
    page.wait_for_selector("#picture img")
    assert project.labels() == {1: 0, 2: 2}
    assert len(project.events) == 4
    asked = [name for name, _ in project.requests if name in {"answers", "history", "next"}]
    assert asked[0] == "answers"  # what waits is sent before anything is asked
    assert page.locator("#banner").is_hidden()


def test_offline_and_back_loses_and_doubles_nothing(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project), failures=True)
    until(lambda: len(project.served) >= 9)
    page.wait_for_timeout(300)
    page.context.set_offline(True)
    press(page, "1", "2", "3", "4", "1")
    page.locator("#banner", has_text="No connection").wait_for()
    assert "5 answers wait in this browser" in page.locator("#banner").inner_text()
    assert "You can go on labelling: 8 images are loaded." in page.locator("#banner").inner_text()
    assert page.locator("#done").inner_text() == "5"
    page.context.set_offline(False)
    until(lambda: len(project.events) == 5)
    assert project.labels() == {1: 0, 2: 1, 3: 2, 4: 3, 5: 0}
    page.locator("#banner").wait_for(state="hidden")
    assert waiting(page) == 0
    press(page, "2")
    until(lambda: project.labels().get(6) == 1)


def test_a_lost_acknowledgement_is_harmless(opened: Opened, project: FakeProject, start: Any) -> None:
    page = opened(start(project), failures=True)
    project.deaf = 2  # takes the events twice and answers nothing useful
    press(page, "1")
    until(lambda: waiting(page) == 0)
    assert project.received == 3
    assert len(project.events) == 1


def test_two_tabs_send_their_own_and_what_was_left(opened: Opened, project: FakeProject, start: Any) -> None:
    url = start(project)
    page = opened(url, failures=True)
    project.fail["answers"] = 503
    press(page, "1", "2")
    page.evaluate("localStorage.setItem('labelwise.name', '\"ben\"')")  # the other tab labels under another name
    other = opened(url, failures=True, context=page.context)
    page.evaluate('localStorage.setItem(\'labelwise.out.elsewhere.x\', \'{"event": {"uuid": "x", "image": 1}}\')')
    other.wait_for_timeout(100)
    del project.fail["answers"]
    other.get_by_role("button", name="Try now").click()
    until(lambda: len(project.events) == 2 and waiting(page) == 1)  # the other project's label stays where it is
    assert {event["annotator"] for event in project.events.values()} == {"me"}
    press(other, "3")
    until(lambda: len(project.events) == 3)
    assert list(project.events.values())[-1]["annotator"] == "ben"
    page.locator("#banner").wait_for(state="hidden")


def test_refused_events_are_said_and_dropped(opened: Opened, project: FakeProject, start: Any) -> None:
    project.refuse[1] = "one label an image is supported"
    page = opened(start(project))
    press(page, "1", "2")
    page.locator("#note", has_text="Not accepted: one label an image is supported").wait_for()
    until(lambda: waiting(page) == 0)
    press(page, "u", "u")
    page.locator("#note", has_text="nothing to undo").wait_for()  # the refused one cannot be undone


def test_names_are_text(opened: Opened, start: Any) -> None:
    project = FakeProject(classes=(HOSTILE, "dog"), test=0)
    project.state = {
        "project": {"name": HOSTILE, "unreadable": 1, "not_used": [f"1 {HOSTILE}"]},
        "people": [{"name": HOSTILE, "labels": 3}, {"name": "b", "labels": 1}],
        "unreadable": [{"path": HOSTILE, "reason": HOSTILE}],
        "problem": HOSTILE,
        "advice": {"say": "go on", "why": HOSTILE},
    }
    project.purposes[1] = {"why": HOSTILE, "suggestion": {"class": 0, "probability": 0.5}}
    project.reviews = [{"image": 3, "answers": [{"annotator": HOSTILE, "class": 0}]}]
    page = opened(start(project), wait=False)
    page.fill("#name", HOSTILE)  # asked, since several people label
    page.keyboard.press("Enter")
    page.wait_for_selector("#picture img")
    page.get_by_text("1 file could not be read").click()
    page.locator(".files li").wait_for()
    page.locator("#panel-body p", has_text=f"1 {HOSTILE}").wait_for()
    for name in ("grid", "review", "classes", "export"):
        page.evaluate("(name) => document.querySelector(`[data-do=${name}]`).click()", name)
        page.wait_for_timeout(150)
        page.keyboard.press("Escape")
    assert page.locator("img[onerror]").count() == 0
    assert page.locator("#project").inner_text() == HOSTILE
    assert page.locator(".class .name").first.inner_text().startswith(HOSTILE)
    press(page, "1")
    until(lambda: [event["annotator"] for event in project.events.values()] == [HOSTILE])


def test_more_than_nine_classes_are_found_by_typing(opened: Opened, start: Any) -> None:
    project = FakeProject(classes=TWELVE)
    page = opened(start(project))
    assert page.locator("#classes .class").count() == 10
    press(page, "/")
    page.keyboard.type("gre")
    assert page.locator("#find-list [role=option]").all_inner_texts() == ["great grebe"]
    page.keyboard.press("Enter")
    until(lambda: project.labels() == {1: 10})
    page.get_by_role("button", name="3 more: find by typing").click()
    page.keyboard.type("e")  # also without the accent; digits and letters label nothing here
    assert page.locator("#find-list [role=option]").first.inner_text() == "écluse"
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#find-list [aria-selected=true]")
    assert page.locator("#find-text").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    name = chosen.locator(".name").inner_text()
    chosen.click()
    until(lambda: project.labels() == {1: 10, 2: TWELVE.index(name)})


def test_a_repeat_looks_like_a_random_image(opened: Opened, start: Any) -> None:
    seen = []
    for purpose in ("random", "repeat"):
        project = FakeProject(test=0)
        suggestion = {"class": 1, "probability": 0.9} if purpose == "random" else None
        project.purposes[1] = {"purpose": purpose, "why": f"told to be {purpose}", "suggestion": suggestion}
        page = opened(start(project))
        page.locator("#live", has_text="Control image").wait_for()
        seen.append((page.locator("#dock").inner_html(), page.locator("#live").inner_text()))
        press(page, "1")
        until(lambda project=project: len(project.events) == 1)
        assert next(iter(project.events.values()))["shown"] is False
    assert seen[0] == seen[1]


def test_checks_show_the_label_and_h_hides_suggestions(opened: Opened, start: Any) -> None:
    project = FakeProject(test=0)
    project.purposes[1] = {
        "purpose": "check", "why": "Other models would say lake (93 %).", "why_unnamed": "Others differ.",
        "given": {"kind": "label", "class": 2}, "suggestion": {"class": 1, "probability": 0.93},
    }  # fmt: skip
    page = opened(start(project))
    assert page.locator("#why").inner_text() == "Its label now: temple. Other models would say lake (93 %)."
    assert page.locator("#suggestion").is_hidden()
    press(page, "h")
    assert page.locator("#why").inner_text() == "Its label now: temple. Others differ."
    press(page, "h", "3")
    assert page.locator("#suggestion span").inner_text().replace("\xa0", " ") == "Suggestion: temple, 83 %"
    assert page.locator(".class.suggested .name").inner_text().startswith("temple")
    press(page, "h")
    assert page.locator("#suggestion").is_hidden()
    assert page.locator(".class.suggested").count() == 0
    assert page.locator("#why").inner_text() == "The model wavers between two classes."
    press(page, "1")
    until(lambda: len(project.events) == 2)
    assert list(project.events.values())[1]["shown"] is True  # it was, before it was hidden
    page.reload()
    press(page, "1")  # remembered
    until(lambda: len(project.events) == 3)
    assert list(project.events.values())[2]["shown"] is False


def test_classes_review_export_and_settings(opened: Opened, project: FakeProject, start: Any) -> None:
    project.reviews = [{"image": 7, "answers": [{"annotator": "anna", "class": 3}, {"annotator": "ben", "class": 1}]}]
    page = opened(start(project))
    page.get_by_role("button", name="Classes").click()
    page.get_by_label("New class").fill("1 boat s")  # digits and letters in a field label nothing
    page.keyboard.press("Enter")
    page.get_by_text("Added: 1 boat s.").wait_for()
    page.get_by_role("button", name="Rename lake").click()
    page.get_by_label("New name").fill("sea")
    page.get_by_label("The meaning changes").check()
    page.get_by_role("button", name="Rename", exact=True).click()
    page.get_by_text("lake is now sea.").wait_for()
    page.get_by_role("button", name="Merge trees").click()
    page.get_by_label("Merge trees into").select_option("temple")
    page.get_by_role("button", name="Merge...", exact=True).click()
    page.get_by_role("button", name="Merge", exact=True).click()
    page.get_by_text("trees is part of temple now.").wait_for()
    page.keyboard.press("Escape")
    page.locator("#classes .name", has_text="trees").wait_for(state="detached")
    changes = [body for name, body in project.requests if name == "classes"]
    assert [change["kind"] for change in changes] == ["add", "rename", "merge"]
    assert changes[1]["again"] is True
    assert changes[2] | {"uuid": 0} == {
        "annotator": "me",
        "uuid": 0,
        "kind": "merge",
        "class": 3,
        "into": 2,
        "again": False,
    }
    assert page.locator("#classes .name").all_inner_texts() == ["flower", "sea", "temple", "1 boat s"]
    page.get_by_role("button", name="Review").click()
    page.locator("#review-answers", has_text="anna said").wait_for()
    page.keyboard.press("2")
    page.get_by_text("There is no disagreement to decide.", exact=True).wait_for()
    until(lambda: project.labels() == {7: 1})
    assert next(iter(project.events.values()))["purpose"] == "review"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Export").click()
    page.get_by_label("Hugging Face dataset").check()
    page.get_by_role("button", name="Write it").click()
    page.locator("#export-path", has_text="export/huggingface").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Budget: images to label").fill("300")
    page.get_by_label("Single keys label").uncheck()
    page.get_by_role("button", name="Save").click()
    page.locator("#of", has_text="of 300").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("1")  # switched off
    page.wait_for_timeout(100)
    assert len(project.events) == 1


def test_seconds_stop_while_nobody_is_there(opened: Opened, project: FakeProject, start: Any, browser: Any) -> None:
    page = opened(start(project))
    page.clock.install()
    press(page, "1")
    page.clock.fast_forward(10_000)
    press(page, "2")
    page.clock.fast_forward(600_000)
    press(page, "3")
    page.clock.run_for(1000)
    until(lambda: len(project.events) == 3)
    _, second, third = project.events.values()
    assert 9 < second["seconds"] < 13
    assert 59 < third["seconds"] < 63


def test_a_newer_model_renews_the_offers_but_the_next_ones(opened: Opened, start: Any) -> None:
    project = FakeProject(test=0)
    page = opened(start(project))
    press(page, "1")
    until(lambda: len(project.events) == 1)
    with project.lock:
        project.images = [*project.images[:6], *reversed(project.images[20:])]
        project.state = {"model": {"round": 1, "labels": 20, "age_seconds": 0.5, "training": False}}
    until(lambda: any(name == "next" and query["have"].count(",") == 4 for name, query in project.requests))
    for _ in range(8):
        press(page, "1")
    until(lambda: len(project.events) == 9)
    assert [event["image"] for event in project.events.values()] == [1, 2, 3, 4, 5, 6, 60, 59, 58]


def test_unreadable_images_are_passed_over(opened: Opened, project: FakeProject, start: Any) -> None:
    project.broken = {1, 3}
    page = opened(start(project), failures=True)
    press(page, "1", "1")
    until(lambda: project.labels() == {2: 0, 4: 0})


def test_states_without_an_image(opened: Opened, start: Any) -> None:
    empty = FakeProject(images=0, test=0)
    page = opened(start(empty), wait=False)
    page.get_by_role("heading", name="No images yet").wait_for()
    page.get_by_role("button", name="Look again").click()
    page.locator("#settings", has_text="3 new images.").wait_for()
    page.keyboard.press("Escape")
    for key in "123":
        press(page, key)
    page.get_by_role("heading", name="Done").wait_for()
    finish = page.locator("#finish").inner_text()
    assert "3 images labelled of a budget of 200." in finish
    assert f"There is no model. {WHY_NOT}" in finish
    assert f"No model yet. {WHY_NOT}" in page.locator("#numbers").inner_text()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#picture img")
    until(lambda: len(empty.labels()) == 2)
    nothing = FakeProject(images=2)
    nothing.images, nothing.state = [], {"phase": "nothing", "project": {"images": 2}}
    page = opened(start(nothing), wait=False)
    page.get_by_role("heading", name="Nothing left to label now").wait_for()


def test_signed_out_and_without_random_uuid(opened: Opened, project: FakeProject, start: Any) -> None:
    url = start(project)
    page = opened(url, failures=True)
    page.evaluate("delete Crypto.prototype.randomUUID")  # as over plain http from another machine
    project.fail["answers"] = 401
    press(page, "1")
    page.get_by_text("Open the link from the terminal again").wait_for()
    del project.fail["answers"]
    until(lambda: len(project.events) == 1)
    (uuid,) = project.events
    assert len(uuid) == 36
    assert (uuid[14], uuid[19] in "89ab") == ("4", True)
    page.goto(f"{url}login")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the password.").wait_for()
    page.get_by_label("Password").fill("open")
    page.keyboard.press("Enter")
    page.wait_for_selector("#picture img")


def test_enter_accepts_the_suggestion_also_of_a_class_without_a_digit(opened: Opened, start: Any) -> None:
    project = FakeProject(classes=TWELVE, test=1)
    project.purposes[3] = {"suggestion": {"class": 10, "probability": 0.7}}
    page = opened(start(project))
    press(page, "Enter")  # nothing is suggested for a test image
    page.wait_for_timeout(100)
    assert project.events == {}
    page.locator("#classes [data-class='4']").click()  # what was clicked is not what Enter presses next
    press(page, "Enter")
    until(lambda: project.labels() == {1: 4, 2: 2})
    accept = page.get_by_role("button", name="Suggestion: great grebe, 70")
    assert accept.locator("kbd").inner_text() == "Enter"
    press(page, "Enter")
    until(lambda: project.labels() == {1: 4, 2: 2, 3: 10})
    assert list(project.events.values())[-1]["shown"] is True
    press(page, "h", "Enter")
    page.focus("[data-do=unsure]")
    press(page, "Enter")  # the button that has the focus
    until(lambda: len(project.events) == 4)
    assert list(project.events.values())[-1]["kind"] == "unsure"
    press(page, "h")
    page.locator("#suggestion").click()
    until(lambda: project.labels().get(5) == 5)

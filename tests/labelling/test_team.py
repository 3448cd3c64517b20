"""Several people at once: the budget is kept, nobody waits for ever, and numbers are each one's own."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.labelling.conftest import photos, said
from tests.labelling.served import app

from labelwise.labelling import holds, status
from labelwise.labelling.background import Worker
from labelwise.labelling.desk import Desk
from labelwise.labelling.events import Event
from labelwise.labelling.holds import HELD
from labelwise.labelling.project import Project, made_or_opened
from labelwise.labelling.server import app as routes


def label_together(desk: Desk, people: int, chance: random.Random) -> None:
    """Let people label in any order, each with a queue as the page has it, until all are through; some are unsure."""
    queues: dict[str, list[tuple[int, str]]] = {f"p{i}": [] for i in range(people)}
    idle: set[str] = set()
    while len(idle) < people:
        person = chance.choice(sorted(queues.keys() - idle))
        queue = queues[person]
        if len(queue) < 12:
            offers = desk.next(person, 12 - len(queue), [image for image, _ in queue])
            queue += [(offer.image, offer.purpose) for offer in offers]
        if not queue:
            idle.add(person)
            continue
        image, purpose = queue.pop(0)
        klass = None if chance.random() < 0.15 else image % 2
        desk.answer([said(image, klass, person, purpose=purpose)])
        idle.clear()  # what one did may open something for the others


@contextmanager
def fresh(changes: dict[str, int]) -> Iterator[Desk]:
    """A new project of 30 pictures with these settings."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with made_or_opened(photos(root / "photos"), root / "home", None, ["cat", "dog"], changes) as project:
            yield Desk(project)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(4, 25), st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_however_people_label_the_budget_is_kept(people: int, overlap: int, budget: int, seed: int) -> None:
    with fresh({"budget": budget, "overlap": overlap}) as desk:
        label_together(desk, people, random.Random(seed))
        bought = desk.board.bought
        assert len(bought) == desk.plan.limit() <= budget
        labels = [sum(e.kind == "label" for e in desk.board.answers(image).values()) for image in bought]
        assert max(labels) <= overlap
        for person in (f"p{i}" for i in range(people)):
            assert status.phase(desk, person, empty=True) == "done"


def test_two_grids_share_no_image_and_keep_to_the_budget() -> None:
    with fresh({"budget": 25}) as desk:
        for image in desk.plan.test:
            desk.answer([said(image, 0, "anna", purpose="test")])
        desk.probs, desk.columns = np.tile(np.array([[0.9, 0.1]], np.float32), (30, 1)), (0, 1)
        held = {offer.image for offer in desk.next("cleo", 3, [])}
        first, second = ([image for image, _ in desk.grid(name, 0, 10)] for name in ("anna", "ben"))
        assert len(first) == 10
        assert not set(first) & set(second)
        assert not held & {*first, *second}
        assert len({*desk.plan.test, *held, *first, *second}) == 25
        desk.next("anna", 2, [])  # she has closed hers
        assert len(desk.grid("ben", 0, 30)) > len(second)


def test_who_has_nothing_while_others_hold_it_waits_and_goes_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=time.monotonic)
    monkeypatch.setattr(holds, "time", clock)
    desk = Desk(project)
    gone = desk.next("anna", 100, [])
    assert gone
    assert desk.next("ben", 12, []) == []
    assert status.phase(desk, "ben", empty=True) == "nothing"
    clock.monotonic = lambda: time.monotonic() + HELD + 1
    assert {o.image for o in desk.next("ben", 100, [])} == {o.image for o in gone}


def test_who_waits_is_told_for_whom(project: Project) -> None:
    desk = Desk(project)
    desk.next("anna", 100, [])
    desk.next("ben", 12, [])
    assert status.waiting(desk, "ben") == {"people": ["anna"], "images": 20, "checks": False}
    for image in range(1, 21):
        desk.answer([said(image, 0, "anna", purpose="test" if image in desk.plan.test else "random")])
    desk.plan.doubted = {20: (1, 0.9)}
    held = [offer.purpose for offer in desk.next("anna", 100, []) if offer.purpose == "check"]
    assert held == ["check"]
    assert desk.next("cleo", 12, []) == []
    assert status.phase(desk, "cleo", empty=True) == "nothing"
    found = status.waiting(desk, "cleo")
    assert (found["people"], found["checks"]) == (["anna"], True)


def test_a_new_name_does_not_wait_for_the_old_one(project: Project) -> None:
    desk = Desk(project)
    mine = {offer.image for offer in desk.next("me", 100, [])}
    assert desk.next("Ann", 12, []) == []
    assert {offer.image for offer in desk.next("Ann", 100, [], was="me")} == mine
    assert {offer.image for offer in desk.next("ANN", 100, [], was="Ann")} == mine, "still the same person"


def test_a_new_name_keeps_the_image_on_the_screen(project: Project) -> None:
    desk = Desk(project)
    first, *rest = [offer.image for offer in desk.next("me", 3, [])]
    desk.next("Ann", 0, [first], was="me")
    others = {offer.image for offer in desk.next("ben", 100, [])}
    assert first not in others, "Ann looks at it"
    assert set(rest) <= others


def test_names_that_differ_in_capitals_are_one_person_from_the_start(project: Project) -> None:
    desk = Desk(project)
    mine = {offer.image for offer in desk.next("Ann", 3, [])}
    assert {offer.image for offer in desk.next("ANN", 3, [])} == mine, "before either has a label"
    first = said(1, 0, "ANN")
    desk.answer([first])
    desk.answer([said(2, 1, "ann")])
    assert [e.annotator for e in project.store.events() if e.kind == "label"] == ["Ann", "Ann"]
    state = status.state(desk, "aNN")
    assert (state["annotator"], state["people"]) == ("Ann", [{"name": "Ann", "labels": 2}])
    assert len(status.history(desk, "ann", 9)) == 2
    undo = Event(str(uuid4()), "undo", "ann", undoes=first.uuid)
    assert desk.answer([undo]) == ([undo.uuid], [])
    assert set(Desk(project).board.labels) == {2}


def test_a_second_decision_does_not_replace_one_that_it_has_not_seen(project: Project) -> None:
    desk = Desk(project)
    desk.answer([said(4, 0, "anna"), said(4, 1, "ben")])
    first = said(4, 0, "cleo", purpose="review")
    desk.answer([first])
    late = said(4, 1, "dan", purpose="review")
    why = "cleo has decided it already, as cat; nothing was changed"
    assert desk.answer([late]) == ([], [{"uuid": late.uuid, "reason": why}])
    assert desk.board.labels == {4: 0}
    same = said(4, 0, "dan", purpose="review")
    assert desk.answer([same])[1] == [], "who says the same stands in nobody's way"
    knowing = said(4, 1, "ben", purpose="review", undoes=same.uuid)
    assert desk.answer([knowing])[1] == []
    assert desk.board.labels == {4: 1}
    assert desk.answer([said(4, 0, "ben", purpose="review")])[1] == [], "everybody changes their own decision"


def test_numbers_of_a_team(project: Project) -> None:
    project.set(overlap=2)
    desk = Desk(project)
    desk.answer([said(1, 0, "anna"), said(2, 0, "anna"), said(2, 1, "ben")])
    found = status.state(desk, "ben")
    assert (found["done"], found["goal"], found["waiting"]) == (3, 40, 1)
    assert found["test"] == {"done": 2, "size": 6, "undecided": 1}
    desk.answer([said(2, 0, "cleo")])
    assert status.state(desk, "cleo")["done"] == 3, "a third label of an image is none of the goal"
    desk.answer([said(1, 0, "anna", purpose="repeat")])
    assert status.state(desk, "anna")["consistency"] == {"asked": 1, "same": 1}
    assert status.state(desk, "ben")["consistency"] is None


def test_wrong_passwords_come_one_after_the_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "SLOW", 0.1)
    made, _, views = app(project, password="correct horse")

    async def tries(words: list[str]) -> tuple[list[int], float]:
        host = {"host": "127.0.0.1:80", "origin": "http://127.0.0.1:80"}
        transport = httpx.ASGITransport(app=made)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:80", headers=host) as client:
            started = time.monotonic()
            answers = await asyncio.gather(*[client.post("/api/login", json={"password": word}) for word in words])
            return [answer.status_code for answer in answers], time.monotonic() - started

    codes, seconds = asyncio.run(tries([f"guess {i}" for i in range(8)]))
    assert codes == [401] * 8
    assert seconds >= 0.8, "at once they would take 0.1"
    assert asyncio.run(tries(["correct horse"]))[0] == [200]
    views.close()


def test_a_process_that_dies_while_all_is_closed_is_not_started_again() -> None:
    worker = Worker("acting", lambda: lambda job, say: None, lambda kind, content: None)
    worker.close()
    worker.job = "what it was doing"
    worker._died(SimpleNamespace(join=lambda: None))
    assert worker.process is None

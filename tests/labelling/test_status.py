"""What the page shows: the curve after an undo, and no more images than the budget has room for."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.labelling.conftest import said

from labelwise.labelling import status
from labelwise.labelling.desk import Desk
from labelwise.labelling.jobs import training_job
from labelwise.labelling.messages import Embedded
from labelwise.labelling.project import Project


def found(number: int, labels: int) -> dict[str, Any]:
    return {"round": number, "labels": labels, "accuracy": 0.5, "low": 0.4, "high": 0.6}


def embedded(images: int) -> Embedded:
    return Embedded("store", 4, np.ones((images, 32), np.uint8))


@given(st.lists(st.integers(1, 40), min_size=1))
def test_the_curve_has_one_point_a_count_and_ends_with_the_newest_model(counts: list[int]) -> None:
    points = status._curve([found(i, labels) for i, labels in enumerate(counts)])
    labels = [point["labels"] for point in points]
    assert labels == sorted(set(labels))
    assert points[-1]["round"] == len(counts) - 1


def test_an_undo_takes_later_points_off_the_curve() -> None:
    points = status._curve([found(i, labels) for i, labels in enumerate((5, 10, 33, 15, 20))])
    assert [point["labels"] for point in points] == [5, 10, 15, 20]


def test_what_a_person_holds_counts_towards_the_budget(project: Project) -> None:
    desk = Desk(project)
    for image in desk.plan.test:
        desk.answer([said(image)])
    left = desk.plan.limit() - len(desk.plan.test)
    first = desk.next("me", 8, [])
    held = [offer.image for offer in first]
    more = desk.next("me", 100, held)
    assert len(held) + len(more) == left, "with what is on the page, exactly the budget"
    everything = held + [offer.image for offer in more]
    assert desk.next("me", 100, everything) == []
    assert desk.next("me", 100, [*everything, 0, 10**9]) == [], "ids that are no images are nobody's"
    for image in everything:
        desk.answer([said(image, purpose="random")])
    assert len(desk.board.bought) == desk.plan.limit() == project.settings.budget


def test_why_there_is_no_model_is_the_true_cause(project: Project) -> None:
    desk = Desk(project)

    def cause() -> str:
        return str(status.state(desk, "me")["no_model"])

    others = np.setdiff1d(np.arange(1, len(desk.images) + 1), desk.plan.test).tolist()
    for image in desk.plan.test:
        desk.answer([said(image, image % 2)])
    desk.answer([said(others[0], 0, purpose="typical")])
    assert "labels of two classes" in cause()
    assert cause().endswith("go on labelling.")
    desk.answer([said(others[1], 1, purpose="typical")])
    assert "not prepared to the end" in cause()
    desk.preparer.job = "reading"
    assert status.state(desk, "me")["work"] == [{"what": "starting to read the images", "done": 0, "total": 0}]
    assert "still being read" in cause()
    desk.prepared = True
    assert status.state(desk, "me")["work"] == [{"what": "loading the backbone", "done": 0, "total": 0}]
    assert "still being embedded (0 of 30)" in cause()
    desk.embedded = embedded(30)
    assert status.state(desk, "me")["work"] == []
    assert "being trained" in cause()
    assert cause() in status.state(desk, "me")["advice"]["why"]
    desk.plan.budget = len(desk.board.bought)
    desk.answer([said(others[1], 0, purpose="typical")])
    assert "raise the budget" in cause()


def test_who_goes_back_to_a_check_sees_the_label_that_stood_before_it(project: Project) -> None:
    desk = Desk(project)
    for event in (said(3, 0, purpose="random"), said(3, 1, purpose="repeat"), said(3, 1, purpose="check")):
        desk.answer([event])
    check, repeat, first = status.history(desk, "me", 10)
    assert check["given"] == {"kind": "label", "class": 0}
    assert repeat["given"] is first["given"] is None


def test_no_model_is_trained_on_one_class(project: Project) -> None:
    desk = Desk(project)
    there = embedded(len(desk.images))
    first = training_job(desk.plan, there, project.settings, 0)
    assert first is not None
    assert first.cold, "typical images are picked"
    desk.plan.kind, desk.plan.picks = "typical", [29, 30]
    for image in desk.plan.test:
        desk.answer([said(image, image % 2)])
    others = np.setdiff1d(np.arange(1, len(desk.images) + 1), desk.plan.test).tolist()
    for image in others[:3]:
        desk.answer([said(image, 0, purpose="typical")])
    assert training_job(desk.plan, there, project.settings, 0) is None
    for image in (29, 30):
        desk.answer([said(image, 0, purpose="typical")])
    more = training_job(desk.plan, there, project.settings, 1)
    assert more is not None
    assert more.cold, "its picks are used up: more of them, or only random ones would be offered"
    assert {29, 30} <= {row + 1 for row in more.indices}
    desk.answer([said(others[3], 1, purpose="typical")])
    last = training_job(desk.plan, there, project.settings, 2)
    assert last is not None
    assert not last.cold


def test_no_model_is_said_to_be_sure_to_the_last() -> None:
    assert [status._sure(p) for p in (0.9999, 0.994, 0.5, 0.0001)] == ["> 99 %", "99 %", "50 %", "< 1 %"]


def test_what_lies_beside_the_images_is_said(project: Project) -> None:
    desk = Desk(project)
    assert status.state(desk, "me")["project"]["not_used"] == []
    (project.images / "notes.txt").write_text("")
    (project.images / ".hidden.png").write_text("")
    desk.rescan()
    assert status.state(desk, "me")["project"]["not_used"] == [
        "beside the images, not used: 1 files of other kinds (.txt), 1 hidden files"
    ]

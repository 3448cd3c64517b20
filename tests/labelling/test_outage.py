"""A store that cannot be reached for a while: nothing is acknowledged that it does not hold, and work goes on after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import pytest
from tests.labelling.conftest import said

from labelwise.errors import InputError
from labelwise.labelling import status
from labelwise.labelling.desk import Desk
from labelwise.labelling.events import Event
from labelwise.labelling.messages import Picked
from labelwise.labelling.project import Project


def unreachable(*_: Any, **__: Any) -> Any:
    raise InputError("postgresql://host/db: connection refused; acknowledged labels are kept")


@pytest.fixture
def outage(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    whole = project.store.transaction

    def set_(down: bool) -> None:
        monkeypatch.setattr(project.store, "transaction", unreachable if down else whole)

    return set_


def test_what_was_not_written_is_not_acknowledged_until_it_is(project: Project, outage: Callable[[bool], None]) -> None:
    desk = Desk(project)
    desk.answer([said(1)])
    outage(True)
    lost = said(2)
    for _ in range(3):  # the page tries again and again
        with pytest.raises(InputError, match="connection refused"):
            desk.answer([lost])
        assert set(desk.board.labels) == {1}
    assert "connection refused" in str(desk.problem)
    outage(False)
    assert desk.answer([lost]) == ([lost.uuid], [])
    assert desk.problem is None
    assert [event.image for event in project.store.events() if event.kind == "label"] == [1, 2]


def test_a_commit_that_arrived_though_its_answer_was_lost_is_not_doubled(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(project)
    append = project.store.append

    def cut(events: Sequence[Event]) -> None:
        append(events)
        unreachable()

    monkeypatch.setattr(project.store, "append", cut)
    event = said(3)
    with pytest.raises(InputError):
        desk.answer([event])
    monkeypatch.setattr(project.store, "append", append)
    assert desk.answer([event, said(4)])[1] == []
    assert [e.image for e in project.store.events() if e.kind == "label"] == [3, 4]
    assert set(desk.board.labels) == {3, 4}


def test_nobody_waits_while_the_groups_of_all_images_are_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, free, parts = Desk(project), list[bool](), list[list[int]]()

    def request() -> None:
        free.append(desk.lock.acquire(timeout=5))
        desk.lock.release()

    def slow(changes: Sequence[dict[str, Any]]) -> None:
        other = Thread(target=request)
        other.start()
        other.join()
        parts.append([change["id"] for change in changes])

    monkeypatch.setattr(project.store, "update_images", slow)
    monkeypatch.setattr("labelwise.labelling.desk.AT_ONCE", 7)
    desk._hear("groups", dict.fromkeys(range(1, 31), 1))
    assert all(free), "a request gets the lock"
    assert [len(part) for part in parts] == [7, 7, 7, 7, 2]
    desk._hear("groups", {i: i for i in range(1, 31)})
    assert [image.grp for image in desk.images] == list(range(1, 31)), "what had one is alone now"
    parts.clear()
    fresh = Desk(project)
    fresh._hear("groups", {**{i: i for i in range(1, 31)}, 9: 4})
    assert parts == [[4, 9]], "most have no near-duplicate, and nothing is written of them"


def test_reports_of_the_processes_behind_outlive_it(project: Project, outage: Callable[[bool], None]) -> None:
    desk = Desk(project)
    outage(True)
    ids = [image.id for image in desk.images]
    size = {"reason": "", "sha256": "x", "width": 8, "height": 8, "look": b"", "bytes": 1, "mtime_ns": 1}
    desk._hear("read", [{"id": i, "status": "ok", **size} for i in ids])
    desk._hear("groups", dict.fromkeys(ids, 1))
    assert desk.prepared
    assert desk.plan.group(ids[-1]) == 1
    desk._hear("picked", Picked(0, 1, (0, 1), desk.plan.usable.nonzero()[0], "picked", 2, None, 4, 6, (0.3, 0.9)))
    assert desk.plan.picks == ids
    assert status.state(desk, "me")["accuracy"]["n"] == 6
    assert "connection refused" in str(desk.problem)
    outage(False)
    desk.answer([said(1)])
    assert desk.problem is None

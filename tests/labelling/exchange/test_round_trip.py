"""Out and in again: nothing is lost, and nothing is doubled."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.labelling.exchange.projects import Project, kept, snapshots

from labelwise.labelling.board import Board
from labelwise.labelling.exchange import FORMATS, Job, export, import_file
from labelwise.labelling.exchange.contents import answers_for
from labelwise.labelling.project import random_slice
from labelwise.labelling.snapshot import Snapshot
from pictures import encoded, picture

FILES = {"csv": "labels.csv", "labelstudio": "tasks.json"}


def taken_in(snapshot: Snapshot, file: Path) -> Snapshot:
    """The project after an import, in which events get their place as the store gives it."""
    found = import_file(file, snapshot)
    board = Board(len(snapshot.images), sorted(snapshot.board.uuids.values(), key=lambda e: e.seq))
    for event in found.events:
        board.check(event)
        board.apply(event.at(board.seq + 1, "2030-01-01T00:00:00+00:00"))
    return dataclasses.replace(snapshot, board=board, test=sorted({*snapshot.test, *found.test}))


def emptied(snapshot: Snapshot) -> Snapshot:
    return dataclasses.replace(snapshot, board=Board(len(snapshot.images)), test=[])


def test_every_format_that_reads_is_tried() -> None:
    assert set(FILES) == {name for name, row in FORMATS.items() if row.reads}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(snapshot=snapshots())
def test_a_round_trip_keeps_everything(name: str, snapshot: Snapshot) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export(Job(snapshot), name, Path(folder) / "out")
        file = Path(folder) / "out" / FILES[name]
        empty = emptied(snapshot)
        back = taken_in(empty, file)
        assert kept(back) == kept(snapshot)
        answered = {i.id for i in snapshot.images if i.id in snapshot.test and answers_for(snapshot, i)}
        assert set(random_slice(back.board, [], 0)) == answered  # what was on the test side is there again for good
        assert import_file(file, back).events == []  # importing twice
        assert import_file(file, snapshot).events == []  # what is there already


@pytest.mark.parametrize("name", FILES)
def test_a_test_image_that_a_review_decided_stays_one(name: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "photos", {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))})
    project.say(1, "anna", "cat", "test")
    project.say(1, "anna", "dog", "review")
    project.say(2, "anna", "dog")
    snapshot = project.snapshot(test=[1])
    export(Job(snapshot), name, tmp_path / "out")
    empty = dataclasses.replace(emptied(snapshot), board=Board(2, snapshot.board.log[:2]))
    back = taken_in(empty, tmp_path / "out" / FILES[name])
    assert random_slice(back.board, [], 0) == [1]
    assert back.name_of(back.board.labels[1]) == "dog"
    assert import_file(tmp_path / "out" / FILES[name], empty).answers == 2

"""Our tasks before Label Studio's own code, which lives in an environment of its own: it needs an older NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.labelling.exchange.projects import HOSTILE, photos

from labelwise.labelling.events import Event
from labelwise.labelling.exchange import Job, export, import_file
from labelwise.labelling.snapshot import Snapshot

CHECK = Path(__file__).parents[1] / "label_studio_check.py"


def its_python() -> str:
    python = os.environ.get("LABEL_STUDIO_PYTHON") or f"{sys.prefix}-label-studio/bin/python"
    if not Path(python).is_file():
        pytest.skip(f"needs label-studio-sdk in {python}: make test installs it, or set LABEL_STUDIO_PYTHON")
    return python


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Path, str]:
    """A project with hostile names, our export of it, and what Label Studio's code said."""
    folder = tmp_path_factory.mktemp("studio")
    project = photos(folder / "photos")
    for klass, name in enumerate(['<b>&"x"', "Größe", "it's, “fine”"], 3):
        project.add(Event(f"more {klass}", "class-added", "anna", klass=klass, name=name))
    project.say(1, "ben", '<b>&"x"')
    snapshot = project.snapshot(test=[1, 5, 7])
    export(Job(snapshot), "labelstudio", folder / "out")
    command = [its_python(), str(CHECK), str(folder / "out" / "tasks.json"), str(folder)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return snapshot, folder, done.stdout


def test_the_sdk_takes_our_tasks_and_gives_our_labels(given: tuple[Snapshot, Path, str]) -> None:
    snapshot, _, said = given
    assert said.startswith("8 tasks, 10 labels")
    assert json.loads(said.partition("classes: ")[2]) == snapshot.classes
    assert snapshot.classes[1] == HOSTILE


def test_its_exports_come_back(given: tuple[Snapshot, Path, str]) -> None:
    snapshot, folder, _ = given
    config = folder / "out" / "config.xml"
    assert import_file(folder / "JSON" / "result.json", snapshot, config).events == []  # all is there already
    held = [(i, e.klass) for i in range(1, 9) for e in snapshot.board.answers(i).values()]
    ours = {(i, snapshot.name_of(klass)) for i, klass in held if klass is not None}
    back = import_file(folder / "JSON_MIN" / "result.json", snapshot, config)  # without our meta: another annotator
    assert {(e.image, snapshot.name_of(e.klass)) for e in back.events if e.klass is not None} == ours
    assert {e.annotator for e in back.events} == {"label studio"}
    assert back.test == [1, 5]  # image 7 was skipped, and JSON_MIN leaves skipped ones out

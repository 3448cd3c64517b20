from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from labelwise.errors import InputError
from labelwise.labelling.background import RESTARTS, Hear, Run, Worker

Told = Queue[tuple[str, Any]]


def actor() -> Run:
    """A process that does what its job says."""

    def run(job: Any, say: Hear) -> None:
        what, content = job
        if what == "die once" and not Path(content).exists():
            Path(content).write_text("x")
            os._exit(9)
        if what == "die":
            os._exit(9)
        if what == "refuse":
            raise InputError("the file is bad")
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), content)
        if what == "sleep":
            say("pid", os.getpid())
            time.sleep(content)
        say("said", content)

    return run


@pytest.fixture
def worker() -> Any:
    told: Told = Queue()
    made = Worker("acting", actor, lambda kind, content: told.put((kind, content)))
    yield made, told
    made.close()


def hear(told: Told, count: int) -> list[tuple[str, Any]]:
    return [told.get(timeout=60) for _ in range(count)]


def test_a_job_is_done_and_reported(worker: tuple[Worker, Told]) -> None:
    made, told = worker
    for i in range(2):
        made.give(("say", i))
        assert hear(told, 2) == [("said", i), ("done", None)]
        assert not made.busy


def test_a_process_that_dies_is_started_again_with_its_job(worker: tuple[Worker, Told], tmp_path: Path) -> None:
    made, told = worker
    made.give(("die once", str(tmp_path / "mark")))
    assert hear(told, 2) == [("said", str(tmp_path / "mark")), ("done", None)]


def test_a_process_that_was_killed_is_started_again(worker: tuple[Worker, Told]) -> None:
    made, told = worker
    made.give(("sleep", 0.5))
    _, pid = told.get(timeout=60)
    os.kill(pid, signal.SIGKILL)
    kinds = [kind for kind, _ in hear(told, 3)]
    assert kinds == ["pid", "said", "done"]


def test_a_full_disk_is_one_line_and_the_process_goes_on(
    worker: tuple[Worker, Told], capfd: pytest.CaptureFixture[str]
) -> None:
    made, told = worker
    made.give(("full", "/cache/small"))
    (kind, said), done = hear(told, 2)
    assert (kind, done) == ("problem", ("done", None))
    assert said.startswith("acting stopped at /cache/small: No space left on device; labels are kept")
    made.give(("say", 1))
    assert hear(told, 2) == [("said", 1), ("done", None)]
    assert capfd.readouterr().err == "", "no traceback"


def test_one_that_always_dies_is_left_dead_and_said(worker: tuple[Worker, Told]) -> None:
    made, told = worker
    made.give(("die", None))
    (kind, why), done = hear(told, 2)
    assert kind == "problem"
    assert f"stopped {RESTARTS} times" in why
    assert done == ("done", None)
    made.give(("say", 1))
    assert hear(told, 2)[0] == ("said", 1), "the next job is tried"


def test_bad_input_is_said_and_the_process_goes_on(worker: tuple[Worker, Told]) -> None:
    made, told = worker
    made.give(("refuse", None))
    assert hear(told, 2) == [("problem", "the file is bad"), ("done", None)]
    made.give(("say", 1))
    assert hear(told, 2)[0] == ("said", 1)


def test_closing_leaves_nothing_behind(worker: tuple[Worker, Told]) -> None:
    made, told = worker
    made.give(("sleep", 60))
    _, pid = told.get(timeout=60)
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Empty):
        told.get(timeout=0.3)

"""Progress: what is said without a terminal, and which bars a terminal shows."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from labelwise.cli import progress
from labelwise.cli.progress import QUIET_SECONDS, RUN_BARS, ProgressListener

LABELS = tuple(range(150, 1501, 75))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def listening(terminal: bool = False, height: int = 25) -> tuple[ProgressListener, io.StringIO]:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=80, height=height)
    return ProgressListener(console, Progress(console=console)), shown


def run(seed: int) -> Any:
    return SimpleNamespace(row=SimpleNamespace(name="3%"), name="margin", seed=seed, labels=LABELS)


def recorded(number: int, last: bool = False) -> Any:
    metrics = SimpleNamespace(accuracy=0.4512, loss=1.6021)
    picks = SimpleNamespace(indices=[] if last else [7])
    return SimpleNamespace(round=number, labels=LABELS[number], test=SimpleNamespace(metrics=metrics), picks=picks)


def test_without_a_terminal_a_long_round_leaves_a_line(clock: Clock) -> None:
    listener, shown = listening()
    listener.planned([run(0), run(1)])
    clock.now += QUIET_SECONDS + 1
    listener.recorded(run(0), recorded(3))
    line = "3% margin seed 0: round 4 of 19, 375 labels, accuracy 45.1%, loss 1.602\n"
    assert shown.getvalue() == line
    clock.now += QUIET_SECONDS - 1  # not yet again
    listener.recorded(run(1), recorded(0))
    assert shown.getvalue() == line
    clock.now += 2
    listener.recorded(run(1), recorded(1))
    assert shown.getvalue() == line + "3% margin seed 1: round 2 of 19, 225 labels, accuracy 45.1%, loss 1.602\n"


def test_a_finished_run_always_leaves_a_line_and_counts_as_one(clock: Clock) -> None:
    listener, shown = listening()
    listener.planned([run(0), run(1)])
    listener.skipped(run(1), len(LABELS))
    clock.now += QUIET_SECONDS + 1
    listener.recorded(run(0), recorded(18, last=True))
    assert shown.getvalue() == "[2/2] 3% margin seed 0: 1,500 labels, accuracy 45.1%, loss 1.602\n"
    listener.recorded(run(1), recorded(0))
    assert shown.getvalue().count("\n") == 1


def test_long_work_before_the_first_run_leaves_lines_too(clock: Clock) -> None:
    listener, shown = listening()
    for done in range(1_000, 5_000, 1_000):
        clock.now += QUIET_SECONDS * 0.6
        listener.work("embedding images", done, 5_000)
    assert shown.getvalue() == "embedding images: 2,000 of 5,000\nembedding images: 4,000 of 5,000\n"


def visible(listener: ProgressListener) -> list[str]:
    return [task.description.partition(":")[0] for task in listener.bars.tasks if task.visible]


@pytest.mark.parametrize(("height", "bars"), [(8, 6), (60, RUN_BARS), (1, 1)])
def test_a_terminal_shows_the_study_and_the_runs_that_changed_last(height: int, bars: int, clock: Clock) -> None:
    listener, shown = listening(terminal=True, height=height)
    listener.planned([run(seed) for seed in range(64)])
    for number in (0, 1):
        for seed in range(64):
            clock.now += QUIET_SECONDS + 1
            listener.recorded(run(seed), recorded(number))
    assert shown.getvalue() == ""  # lines are for where there are no bars
    assert visible(listener) == ["study of 64 runs", *(f"3% margin seed {seed}" for seed in range(64 - bars, 64))]
    listener.recorded(run(5), recorded(2))
    assert "3% margin seed 5" in visible(listener)
    assert f"3% margin seed {64 - bars}" not in visible(listener)
    listener.recorded(run(5), recorded(18, last=True))
    assert len(visible(listener)) == bars + 1
    assert "3% margin seed 5" not in visible(listener)


def test_a_terminal_shows_all_bars_that_fit(clock: Clock) -> None:
    listener, _ = listening(terminal=True)
    listener.planned([run(seed) for seed in range(5)])
    for seed in range(5):
        listener.recorded(run(seed), recorded(0))
    assert len(visible(listener)) == 6


def test_what_the_log_says_is_shown_while_a_study_runs(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("labelwise")
    before = (log.level, list(log.handlers))
    with progress.progress_listener():
        log.info("48 runs side by side, packed, %d at once", 32)
    assert "48 runs side by side, packed, 32 at once\n" in capsys.readouterr().err
    assert (log.level, log.handlers) == before

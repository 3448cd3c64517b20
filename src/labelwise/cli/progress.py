"""Progress for people: bars with the time left on a terminal; lines of finished runs and of long rounds elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from labelwise.loop import Round
from labelwise.study.plan import Run

QUIET_SECONDS = 15.0
"""Without a terminal, long work and rounds say so only if this long nothing was said."""
RUN_BARS = 12
"""Runs whose bars are drawn at most, of up to a thousand side by side: those that changed last."""


class ProgressListener:
    """Draws a study's progress to standard error."""

    def __init__(self, console: Console, bars: Progress) -> None:
        self.console = console
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.runs = self.finished = 0
        self.said = time.monotonic()

    def work(self, what: str, done: int, total: int) -> None:
        """Show long work before the first run."""
        self._bar(what, done, total)
        self._say_if_quiet(f"{what}: {done:,} of {total:,}")

    def planned(self, runs: list[Run]) -> None:
        """Show how much there is; a round weighs as much as its labels, plus what every round costs."""
        self.runs = len(runs)
        self.total = sum(_weight(labels) for run in runs for labels in run.labels)
        self.done = 0
        self._advance(0)

    def recorded(self, run: Run, done: Round) -> None:
        """Show a recorded round; a finished run leaves one line, and so does a round where they take long."""
        self._advance(_weight(done.labels))
        live = f"{run.row.name} {run.name} seed {run.seed}"
        metrics = done.test.metrics
        reached = f"{done.labels:,} labels, accuracy {metrics.accuracy:.1%}, loss {metrics.loss:.3f}"
        if not len(done.picks.indices):
            self.finished += 1
            self._advance(sum(_weight(labels) for labels in run.labels[done.round + 1 :]))  # stopped before N
            self._remove(live)
            self._say(f"[{self.finished}/{self.runs}] {live}: {reached}")
        else:
            self._bar(live, done.round + 1, len(run.labels), f"{live}: {reached}")
            self._say_if_quiet(f"{live}: round {done.round + 1} of {len(run.labels)}, {reached}")

    def skipped(self, run: Run, rounds: int) -> None:
        """Count what was recorded before."""
        self._advance(sum(_weight(labels) for labels in run.labels[:rounds]))
        if rounds == len(run.labels):
            self.finished += 1

    def _say(self, text: str) -> None:
        self.said = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _say_if_quiet(self, text: str) -> None:
        if not self.console.is_terminal and time.monotonic() - self.said > QUIET_SECONDS:
            self._say(text)

    def _advance(self, weight: int) -> None:
        self.done += weight
        self._bar(f"study of {self.runs} runs", self.done, self.total)

    def _bar(self, name: str, done: int, total: int, text: str | None = None) -> None:
        """Draw a bar's new state; it counts as the one that changed last."""
        task = self.tasks.pop(name, None)
        if task is None:
            task = self.bars.add_task(name, total=total)
        self.tasks[name] = task
        self.bars.update(task, completed=done, description=text or name)
        if done == total:
            self._remove(name)
        else:
            self._fit()

    def _remove(self, name: str) -> None:
        if name in self.tasks:
            self.bars.remove_task(self.tasks.pop(name))
        self._fit()

    def _fit(self) -> None:
        """Show the study's bar and those that changed last: one line of the terminal is the cursor's."""
        whole = f"study of {self.runs} runs"
        others = [task for name, task in self.tasks.items() if name != whole]
        room = min(RUN_BARS, max(1, self.console.height - 1 - (whole in self.tasks)))
        for place, task in enumerate(others):
            self.bars.update(task, visible=place >= len(others) - room)


def _weight(labels: int) -> int:
    return labels + 300


class _Said(logging.Handler):
    """Shows what the log says above the bars, as how many runs a GPU takes at once."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        self.console.print(record.getMessage(), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_listener() -> Iterator[ProgressListener]:
    """Open the progress display for the length of a study."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    said, log = _Said(console), logging.getLogger("labelwise")
    before = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    try:
        with bars:
            yield ProgressListener(console, bars)
    finally:
        log.removeHandler(said)
        log.setLevel(before)

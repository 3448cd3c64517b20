"""Progress for people: bars with the time left on a terminal, one line a finished run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from labelwise.loop import Round
from labelwise.study.plan import Run

QUIET_SECONDS = 15.0
"""Without a terminal, long work says so at most this often."""


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
        if not self.console.is_terminal and (time.monotonic() - self.said > QUIET_SECONDS):
            self.said = time.monotonic()
            self.console.print(f"{what}: {done:,} of {total:,}", highlight=False, soft_wrap=True)

    def planned(self, runs: list[Run]) -> None:
        """Show how much there is; a round weighs as much as its labels, plus what every round costs."""
        self.runs = len(runs)
        self.total = sum(_weight(labels) for run in runs for labels in run.labels)
        self.done = 0
        self._bar(f"study of {len(runs)} runs", 0, self.total)

    def recorded(self, run: Run, done: Round) -> None:
        """Show a recorded round; a finished run leaves one line."""
        self._advance(run, _weight(done.labels))
        live = f"{run.row.name} {run.name} seed {run.seed}"
        metrics = done.test.metrics
        text = f"{live}: {done.labels:,} labels, accuracy {metrics.accuracy:.1%}, loss {metrics.loss:.3f}"
        if not len(done.picks.indices):
            self.finished += 1
            self._advance(run, sum(_weight(labels) for labels in run.labels[done.round + 1 :]))  # stopped before N
            self._remove(live)
            self.console.print(f"[{self.finished}/{self.runs}] {text}", highlight=False, markup=False, soft_wrap=True)
        else:
            self._bar(live, done.round + 1, len(run.labels), text)

    def skipped(self, run: Run, rounds: int) -> None:
        """Count what was recorded before."""
        self._advance(run, sum(_weight(labels) for labels in run.labels[:rounds]))
        if rounds == len(run.labels):
            self.finished += 1

    def _advance(self, run: Run, weight: int) -> None:
        self.done += weight
        self._bar(f"study of {self.runs} runs", self.done, self.total)

    def _bar(self, name: str, done: int, total: int, text: str | None = None) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total)
        self.bars.update(self.tasks[name], completed=done, description=text or name)
        if done == total:
            self._remove(name)

    def _remove(self, name: str) -> None:
        if name in self.tasks:
            self.bars.remove_task(self.tasks.pop(name))


def _weight(labels: int) -> int:
    return labels + 300


@contextmanager
def progress_listener() -> Iterator[ProgressListener]:
    """Open the progress display for the length of a study."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        yield ProgressListener(console, bars)

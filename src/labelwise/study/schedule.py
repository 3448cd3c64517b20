"""Which run is computed next, wherever runs are computed: no first fit is made twice, what was lost is given again."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from labelwise.errors import InputError
from labelwise.state import State
from labelwise.study.plan import Run
from labelwise.study.runner import Kept, Runner, Step, share_key

ATTEMPTS = 3
"""Workers that may die in one round before the study stops."""

Recorded = Callable[[str], State | None]
"""What a run, by its identity, has labelled according to the records; None where it has not begun."""


@dataclass
class Job:
    """A run that is not done. deaths: workers that died in it since its last recorded round."""

    run: Run
    identity: str
    deaths: int = 0


@dataclass(frozen=True)
class Order:
    """To a worker: go on with this run from this state, with what others computed (a Kept, or what stands for it)."""

    run: Run
    state: State | None
    kept: Any


@dataclass(frozen=True)
class Answer:
    """From a worker: a finished round, or None after the last; with a run's first round, what others can use."""

    step: Step | None
    kept: Kept | None


@dataclass(frozen=True)
class Failure:
    """From a worker: why it cannot go on; expected: bad input, and the text is for the user."""

    text: str
    expected: bool


def answers(build: Callable[[], Runner], order: Order) -> Iterator[Answer | Failure]:
    """Be a worker: compute what is ordered, round by round, with the runner that `build` gives."""
    try:
        runner = build()
        kept = Kept()
        if order.kept is not None:
            kept.add(order.kept, runner.learner)
        for step in runner.steps(order.run, order.state, kept):
            yield Answer(step, kept.packed() if step.done.round == 0 else None)
        yield Answer(None, None)
    except InputError as error:
        yield Failure(str(error), expected=True)
    except Exception:
        yield Failure(traceback.format_exc(), expected=False)


class Crew(Protocol):
    """Those who compute side by side, threads or processes. A job is known to them by its run's identity."""

    def has_room(self) -> bool:
        """Return whether another job can start."""
        ...

    def start(self, identity: str, order: Order) -> None:
        """Have a job computed; called where there is room."""
        ...

    def wait(self) -> list[tuple[str, Answer | Failure | None]]:
        """Return what has come in, at least one answer; None from a job whose worker died. Called where jobs go on."""
        ...


class Schedule:
    """The jobs that wait. Runs that would make the same first fit twice are held back until it can be passed on.

    store: puts a first fit where workers find it, and gives what an order names it by.
    """

    def __init__(self, jobs: list[Job], recorded: Recorded, store: Callable[[Kept], Any] = lambda kept: kept) -> None:
        self.pending, self.recorded, self.store = list(jobs), recorded, store
        self.kept: dict[str, Any] = {}
        self.making: dict[str, str] = {}  # first fits that others wait for: share key -> identity of who makes it

    def take(self) -> tuple[Job, Order] | None:
        """Return the next job that does not wait for another one's first fit, the study's order kept."""
        for job in self.pending:
            key = share_key(job.run)
            if key in self.making and self.recorded(job.identity) is None:
                continue
            self.pending.remove(job)
            state, kept = self.recorded(job.identity), self.kept.get(key)
            if kept is None and state is None:
                self.making[key] = job.identity
            self._drop(key)
            return job, Order(job.run, state, kept)
        return None

    def receive(self, job: Job, answer: Answer | Failure) -> Step | None:
        """Take in an answer: return the round to record, or None after a run's last.

        Errors: a failure's own, InputError where it is for the user.
        """
        if isinstance(answer, Failure):
            raise InputError(answer.text) if answer.expected else RuntimeError(answer.text)
        key = share_key(job.run)
        if answer.kept is not None:
            self.making.pop(key, None)
            self.kept[key] = self.store(answer.kept)
            self._drop(key)
        job.deaths = 0
        return answer.step

    def put_back(self, job: Job) -> None:
        """Give a job out again, before all others: its worker was lost, and what it had not sent with it."""
        if self.making.get(share_key(job.run)) == job.identity:
            del self.making[share_key(job.run)]
        self.pending.insert(0, job)

    def died(self, job: Job, advice: str) -> None:
        """Put a job back whose worker died. Errors: InputError with the advice where workers keep dying in it."""
        job.deaths += 1
        if job.deaths >= ATTEMPTS:
            raise InputError(
                f"the worker of {job.run.row.name} {job.run.name} seed {job.run.seed} died {ATTEMPTS} times in one "
                f"round (killed, or out of memory?); {advice}, then run the same command again: finished rounds are "
                "kept"
            )
        self.put_back(job)

    def _drop(self, key: str) -> None:
        """Forget a first fit that no waiting job can use: models are large."""
        if all(share_key(job.run) != key for job in self.pending):
            self.kept.pop(key, None)


def coordinate(schedule: Schedule, crew: Crew) -> Generator[tuple[Job, Step], None, None]:
    """Yield every round of every job, computed by a crew, in the order in which they come in.

    Errors: see `Schedule.receive` and `Schedule.died`.
    """
    busy: dict[str, Job] = {}
    while schedule.pending or busy:
        while crew.has_room() and (taken := schedule.take()):
            job, order = taken
            busy[job.identity] = job
            crew.start(job.identity, order)
        for identity, answer in crew.wait():
            job = busy[identity]
            if answer is None:
                del busy[identity]
                schedule.died(job, "give fewer --workers")
            elif (step := schedule.receive(job, answer)) is None:
                del busy[identity]
            else:
                yield job, step

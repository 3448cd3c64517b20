"""Runs on several processes of this machine: one thread each, and one coordinator, which alone writes.

A worker opens the data and builds the learner once, then takes one run after another. What comes from the cache
(decoded images, embeddings) is mapped, so that memory holds it once. What a round gives depends neither on the worker
nor on how many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.connection import Connection, wait

from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models.backbone import pick_device
from labelwise.models.learners import build_learner
from labelwise.state import State
from labelwise.study.plan import Run
from labelwise.study.runner import Kept, Runner, Step, share_key
from labelwise.threads import cores, share_cores

ATTEMPTS = 3
"""Workers that may die in one round before the study stops."""


Recorded = Callable[[str], State | None]
"""What a run, by its identity, has labelled according to the records; None where it has not begun."""


@dataclass
class Job:
    """A run that is not done. deaths: workers lost in it since its last recorded round."""

    run: Run
    identity: str
    deaths: int = 0


def default_workers(study: Study, frozen_embeddings: bool) -> int:
    """Return how many workers pay: one a core where the CPU fine-tunes; one where fits take no time or share a GPU."""
    if frozen_embeddings or pick_device(study.learner.device).type != "cpu":
        return 1
    return cores()


def compute(jobs: list[Job], runner: Runner, recorded: Recorded, workers: int) -> Iterator[tuple[Job, Step]]:
    """Yield every missing round of every job, computed in this process or by so many workers.

    Each round has to be recorded before the next one is asked for. Errors: InputError, also where workers keep dying.
    """
    if workers > 1:
        with _Coordinator(jobs, runner, recorded, workers) as coordinator:
            yield from coordinator.steps()
        return
    for _, group in groupby(jobs, key=lambda job: (job.run.row.name, job.run.seed)):
        kept = Kept()
        for job in group:
            for step in runner.steps(job.run, recorded(job.identity), kept):
                yield job, step


class _Coordinator:
    """Hands jobs to workers, passes on what arms can share, and gives a dead worker's job to another one."""

    def __init__(self, jobs: list[Job], runner: Runner, recorded: Recorded, workers: int) -> None:
        self.pending, self.runner, self.recorded = list(jobs), runner, recorded
        self.kept: dict[str, Kept] = {}
        self.making: dict[str, str] = {}  # first fits that others wait for: share key -> identity of who makes it
        self.idle = [_Worker(runner, workers) for _ in range(workers)]
        self.workers = workers
        self.busy: dict[Connection, tuple[_Worker, Job]] = {}

    def __enter__(self) -> _Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self.idle, *(worker for worker, _ in self.busy.values())]:
            worker.stop()

    def steps(self) -> Iterator[tuple[Job, Step]]:
        """Yield finished rounds in the order in which they come in."""
        while self.pending or self.busy:
            while self.idle and (job := self._next()):
                self._start(self.idle.pop(), job)
            for connection in wait(list(self.busy)):
                assert isinstance(connection, Connection)
                worker, job = self.busy[connection]
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    self._replace(connection)
                    continue
                if isinstance(message, Failure):
                    raise InputError(message.text) if message.expected else RuntimeError(message.text)
                if message.kept is not None:
                    self._share(job, message.kept)
                if message.step is None:
                    self.idle.append(worker)
                    del self.busy[connection]
                else:
                    job.deaths = 0
                    yield job, message.step

    def _next(self) -> Job | None:
        """Return the next job that does not wait for another worker's first fit, the study's order kept."""
        for job in self.pending:
            if share_key(job.run) not in self.making or self.recorded(job.identity) is not None:
                self.pending.remove(job)
                return job
        return None

    def _start(self, worker: _Worker, job: Job) -> None:
        key, state = share_key(job.run), self.recorded(job.identity)
        kept = self.kept.get(key)
        if kept is None and state is None:
            self.making[key] = job.identity
        self._drop(key)
        self.busy[worker.connection] = worker, job
        with suppress(OSError):  # it died: that is seen when its answer is read
            worker.connection.send(Order(job.run, state, kept))

    def _share(self, job: Job, kept: Kept) -> None:
        key = share_key(job.run)
        self.making.pop(key, None)
        self.kept[key] = kept
        self._drop(key)

    def _drop(self, key: str) -> None:
        """Forget a first fit that no waiting job can use: models are large."""
        if all(share_key(job.run) != key for job in self.pending):
            self.kept.pop(key, None)

    def _replace(self, connection: Connection) -> None:
        """Put a dead worker's job back, and a new worker in its place."""
        worker, job = self.busy.pop(connection)
        worker.stop()
        job.deaths += 1
        if job.deaths >= ATTEMPTS:
            raise InputError(
                f"the worker of {job.run.row.name} {job.run.name} seed {job.run.seed} died {ATTEMPTS} times in one "
                "round (killed, or out of memory?); give fewer --workers, then run the same command again: finished "
                "rounds are kept"
            )
        if self.making.get(share_key(job.run)) == job.identity:
            del self.making[share_key(job.run)]
        self.pending.insert(0, job)
        self.idle.append(_Worker(self.runner, self.workers))


@dataclass(frozen=True)
class Order:
    """To a worker: go on with this run from this state, with what others computed."""

    run: Run
    state: State | None
    kept: Kept | None


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


class _Worker:
    """A process and the connection to it."""

    def __init__(self, runner: Runner, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # forked copies of a process with threads can hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, runner.study, runner.learner.key, workers), daemon=True, name="labelwise worker"
        )  # fmt: skip
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process at once: what it has not sent is computed again."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def work(connection: Connection, study: Study, key: str, workers: int) -> None:
    """Be a worker: build what `study` needs once, then take orders until the connection ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator stops its workers itself
    share_cores(workers)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        runner = _build(study, key)
        while True:
            try:
                order: Order = connection.recv()
            except EOFError:
                return
            kept = Kept()
            if order.kept is not None:
                kept.add(order.kept, runner.learner)
            for step in runner.steps(order.run, order.state, kept):
                first = step.done.round == 0
                connection.send(Answer(step, kept.packed() if first else None))
            connection.send(Answer(None, None))
    except BrokenPipeError:
        return
    except InputError as error:
        connection.send(Failure(str(error), expected=True))
    except Exception:
        connection.send(Failure(traceback.format_exc(), expected=False))


def _leave_with_parent() -> None:
    """End this process when the coordinator is gone, also in the middle of a fit."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _build(study: Study, key: str) -> Runner:
    dataset = open_dataset(study, unseen)
    learner = build_learner(dataset, study, unseen)
    if learner.key != key:
        raise InputError(f"{study.data} changed while the study was starting; run the same command again")
    return Runner(study, dataset, learner)

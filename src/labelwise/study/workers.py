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
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from multiprocessing.connection import Connection, wait

from tqdm import tqdm

from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models.backbone import pick_device
from labelwise.models.learners import build_learner
from labelwise.study.runner import Kept, Runner, Step
from labelwise.study.schedule import Job, Order, Recorded, Schedule, answers
from labelwise.threads import cores, share_cores


def default_workers(study: Study, frozen_embeddings: bool) -> int:
    """Return how many workers pay: one a core where the CPU fine-tunes; one where fits take no time or share a GPU."""
    if frozen_embeddings or pick_device(study.learner.device).type != "cpu":
        return 1
    return cores()


def compute(
    jobs: list[Job], runner: Runner, recorded: Recorded, workers: int
) -> Generator[tuple[Job, Step], None, None]:
    """Yield every missing round of every job, computed in this process or by so many workers.

    Each round has to be recorded before the next one is asked for. Errors: InputError, also where workers keep dying.
    """
    if workers > 1:
        with _Coordinator(Schedule(jobs, recorded), runner, workers) as coordinator:
            yield from coordinator.steps()
        return
    for _, group in groupby(jobs, key=lambda job: (job.run.row.name, job.run.seed)):
        kept = Kept()
        for job in group:
            for step in runner.steps(job.run, recorded(job.identity), kept):
                yield job, step


class _Coordinator:
    """Hands jobs to workers, and puts a new worker in a dead one's place."""

    def __init__(self, schedule: Schedule, runner: Runner, workers: int) -> None:
        self.schedule, self.runner, self.workers = schedule, runner, workers
        self.idle = [_Worker(runner, workers) for _ in range(workers)]
        self.busy: dict[Connection, tuple[_Worker, Job]] = {}

    def __enter__(self) -> _Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self.idle, *(worker for worker, _ in self.busy.values())]:
            worker.stop()

    def steps(self) -> Iterator[tuple[Job, Step]]:
        """Yield finished rounds in the order in which they come in."""
        while self.schedule.pending or self.busy:
            while self.idle and (taken := self.schedule.take()):
                self._start(*taken)
            for connection in wait(list(self.busy)):
                assert isinstance(connection, Connection)
                worker, job = self.busy[connection]
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    self._replace(connection)
                    continue
                step = self.schedule.receive(job, answer)
                if step is None:
                    self.idle.append(worker)
                    del self.busy[connection]
                else:
                    yield job, step

    def _start(self, job: Job, order: Order) -> None:
        worker = self.idle.pop()
        self.busy[worker.connection] = worker, job
        with suppress(OSError):  # it died: that is seen when its answer is read
            worker.connection.send(order)

    def _replace(self, connection: Connection) -> None:
        """Put a dead worker's job back, and a new worker in its place."""
        worker, job = self.busy.pop(connection)
        worker.stop()
        self.schedule.died(job, "give fewer --workers")
        self.idle.append(_Worker(self.runner, self.workers))


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
    # tqdm's own lock, which `datasets` makes, is a semaphore that a killed process leaves behind, with a warning
    tqdm.set_lock(threading.RLock())
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    @lru_cache(maxsize=1)
    def build() -> Runner:
        dataset = open_dataset(study, unseen)
        learner = build_learner(dataset, study, unseen)
        if learner.key != key:
            raise InputError(f"{study.data} changed while the study was starting; run the same command again")
        return Runner(study, dataset, learner)

    with suppress(BrokenPipeError, EOFError):
        while True:
            for answer in answers(build, connection.recv()):
                connection.send(answer)


def _leave_with_parent() -> None:
    """End this process when the coordinator is gone, also in the middle of a fit."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

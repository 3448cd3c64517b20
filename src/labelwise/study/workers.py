"""Runs that go on side by side on this machine, and one coordinator, which alone writes.

On a CPU, and where the learner is for one thread alone: processes with one thread each. A worker opens the data and
builds the learner once, then takes one run after another. What comes from the cache (decoded images, embeddings) is
mapped, so that memory holds it once. On a GPU whose learner takes several runs at once: threads of this process
(`side_by_side`), or, on several GPUs, of one process a GPU. What a round gives depends neither on the worker nor on how
many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from multiprocessing.connection import Connection, wait

from tqdm import tqdm

from labelwise.config import Study
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.models.backbone import device_count, pick_device
from labelwise.models.learner import Calibration, Learner
from labelwise.models.learners import build_learner
from labelwise.study import side_by_side
from labelwise.study.runner import Kept, Runner, Step
from labelwise.study.schedule import Answer, Failure, Job, Order, Recorded, Schedule, answers, coordinate
from labelwise.threads import cores, share_cores


def default_workers(study: Study, learner: Learner | Calibration) -> int:
    """Return how many runs side by side pay: what the learner wants on each device; else one a core where the CPU
    fine-tunes, and one where fits take no time or share a GPU.
    """
    if learner.side_by_side > 1:
        return learner.side_by_side * device_count(study.learner.device)
    if learner.frozen_embeddings or pick_device(study.learner.device).type != "cpu":
        return 1
    return cores()


def compute(
    jobs: list[Job], runner: Runner, recorded: Recorded, workers: int
) -> Generator[tuple[Job, Step], None, None]:
    """Yield every missing round of every job, so many runs side by side; by one, in this thread.

    Each round has to be recorded before the next one is asked for. Errors: InputError, also where workers keep dying.
    """
    if workers == 1:
        yield from _in_turn(jobs, runner, recorded)
        return
    specs = _specs(runner, workers)
    if len(specs) == 1:
        yield from side_by_side.compute(jobs, runner, recorded, workers)
        return
    with _Processes(runner, specs) as crew:
        yield from coordinate(Schedule(jobs, recorded), crew)


def _in_turn(jobs: list[Job], runner: Runner, recorded: Recorded) -> Generator[tuple[Job, Step], None, None]:
    for _, group in groupby(jobs, key=lambda job: (job.run.row.name, job.run.seed)):
        kept = Kept()
        for job in group:
            for step in runner.steps(job.run, recorded(job.identity), kept):
                yield job, step


@dataclass(frozen=True)
class ProcessSpec:
    """Where a process computes. sharers: runs that share the machine's cores; runs: those that go on in it at once;
    gpu: the only one that it is to see, as CUDA_VISIBLE_DEVICES names it, or "" for what this process sees.
    """

    sharers: int
    runs: int = 1
    gpu: str = ""


def _specs(runner: Runner, workers: int) -> list[ProcessSpec]:
    """Return where so many runs go on: a process each, or, where the learner takes several, one spec a device."""
    if runner.learner.side_by_side == 1:
        return [ProcessSpec(workers)] * workers
    devices = min(workers, device_count(runner.study.learner.device))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(devices)))
    return [
        ProcessSpec(workers, (workers + spec) // devices, gpu.strip())
        for spec, gpu in enumerate(visible.split(",")[:devices])
    ]


class _Processes:
    """A crew of processes. A dead one's jobs are given back, and a new one takes its place."""

    def __init__(self, runner: Runner, specs: list[ProcessSpec]) -> None:
        self.runner = runner
        self.workers = [_Worker(runner, spec) for spec in specs]

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()

    def has_room(self) -> bool:
        """Return whether a process takes another job."""
        return any(worker.room for worker in self.workers)

    def start(self, identity: str, order: Order) -> None:
        """Give a job to the process with the most room."""
        worker = max(self.workers, key=lambda worker: worker.room)
        worker.jobs.add(identity)
        with suppress(OSError):  # it died: that is seen when its answer is read
            worker.connection.send((identity, order))

    def wait(self) -> list[tuple[str, Answer | Failure | None]]:
        """Return an answer of each process that has one."""
        busy = {worker.connection: worker for worker in self.workers if worker.jobs}
        came: list[tuple[str, Answer | Failure | None]] = []
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            try:
                identity, answer = connection.recv()
            except (EOFError, OSError):
                came += [(identity, None) for identity in sorted(worker.jobs)]
                worker.stop()
                self.workers[self.workers.index(worker)] = _Worker(self.runner, worker.spec)
                continue
            if isinstance(answer, Answer) and answer.step is None:
                worker.jobs.remove(identity)
            came.append((identity, answer))
        return came


class _Worker:
    """A process, the connection to it, and the jobs that it has."""

    def __init__(self, runner: Runner, spec: ProcessSpec) -> None:
        self.spec, self.jobs = spec, set[str]()
        context = multiprocessing.get_context("spawn")  # forked copies of a process with threads can hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, runner.study, runner.learner.key, spec), daemon=True, name="labelwise worker"
        )
        self.process.start()
        theirs.close()

    @property
    def room(self) -> int:
        """How many more jobs it takes."""
        return self.spec.runs - len(self.jobs)

    def stop(self) -> None:
        """End the process at once: what it has not sent is computed again."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def work(connection: Connection, study: Study, key: str, spec: ProcessSpec) -> None:
    """Be a worker: build what `study` needs once, then take orders until the connection ends."""
    if spec.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.gpu  # before anything here asks for a GPU
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator stops its workers itself
    share_cores(spec.sharers)
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
        if spec.runs > 1:
            _serve_several(connection, build, spec)
        else:
            _serve_one(connection, build)


def _serve_one(connection: Connection, build: Callable[[], Runner]) -> None:
    """Take one order after the other, until the connection ends."""
    while True:
        identity, order = connection.recv()
        for answer in answers(build, order):
            connection.send((identity, answer))


def _serve_several(connection: Connection, build: Callable[[], Runner], spec: ProcessSpec) -> None:
    """Take orders until the connection ends, each in a thread of its own; one more thread sends what they answer."""
    crew = side_by_side.Threads(build, spec.runs)

    def send() -> None:
        try:
            while True:
                for answered in crew.wait():
                    connection.send(answered)
        except OSError:
            return  # the coordinator has left, and so does this process
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the coordinator sees that, and gives the jobs out again, three times at most

    with side_by_side.owned_process(spec.sharers):
        threading.Thread(target=send, daemon=True).start()
        while True:
            crew.start(*connection.recv())


def _leave_with_parent() -> None:
    """End this process when the coordinator is gone, also in the middle of a fit."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)

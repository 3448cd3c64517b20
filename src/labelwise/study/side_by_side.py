"""Runs in threads of one process, which share its device: their learner computes the fits of many runs together.

A run's thread does all that its rounds need, and waits in `learner.fit` most of the time. The coordinator, in the
thread that asks for the rounds, alone writes. What a round gives depends neither on the thread nor on how many there
are.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from labelwise.models.backbone import torch_threads
from labelwise.study.runner import Runner, Step
from labelwise.study.schedule import Answer, Failure, Job, Order, Recorded, Schedule, answers, coordinate
from labelwise.threads import cores_shared, one_thread

SWITCH = 2e-4
"""Seconds that one thread computes in Python before another one's turn: a device must not wait for a selection."""
JOIN_SECONDS = 10.0
"""Seconds for threads that were told to stop: as long as most take to select a batch, which cannot be broken off."""


def compute(
    jobs: list[Job], runner: Runner, recorded: Recorded, number: int
) -> Generator[tuple[Job, Step], None, None]:
    """Yield every missing round of every job, at most `number` of which go on at once.

    Each round has to be recorded before the next one is asked for. Whatever ends this before the last round, as an
    error in a run, stops the learner and its threads. Errors: InputError; RuntimeError with a run's traceback.
    """
    crew = Threads(lambda: runner, number)
    with owned_process(number):
        try:
            yield from coordinate(Schedule(jobs, recorded), crew)
        except BaseException:
            crew.stop()
            raise


class Threads:
    """A crew of threads, one for each run that goes on. build: gives their runner, called by one thread at a time."""

    def __init__(self, build: Callable[[], Runner], number: int) -> None:
        self.build, self.number = build, number
        self.running: dict[str, threading.Thread] = {}
        self.answered: SimpleQueue[tuple[str, Answer | Failure]] = SimpleQueue()
        self.building, self.stopping = threading.Lock(), threading.Event()

    def has_room(self) -> bool:
        """Return whether fewer runs go on than may."""
        return len(self.running) < self.number

    def start(self, identity: str, order: Order) -> None:
        """Start a run's thread. It is a daemon: the end of the process never waits for it."""
        thread = threading.Thread(target=self._work, args=(identity, order), daemon=True, name=f"run {identity}")
        self.running[identity] = thread
        thread.start()

    def wait(self) -> list[tuple[str, Answer | Failure | None]]:
        """Return the next answer of a run."""
        identity, answer = self.answered.get()
        if isinstance(answer, Answer) and answer.step is None:
            self.running.pop(identity).join()
        return [(identity, answer)]

    def stop(self) -> None:
        """End the threads, those at once that wait in the learner; what they would still say is not heard."""
        self.stopping.set()
        self.build().learner.stop()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self.running.values():
            if thread.is_alive():  # Ctrl-C may have come before it started
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, identity: str, order: Order) -> None:
        with one_thread():  # OpenMP counts for each thread apart
            for answer in answers(self._runner, order):
                if self.stopping.is_set():
                    return
                self.answered.put((identity, answer))

    def _runner(self) -> Runner:
        with self.building:
            runner = self.build()
            _ = runner.answers  # opened once, since two threads could each open their own
            return runner


@contextmanager
def owned_process(sharers: int) -> Iterator[None]:
    """Hold what belongs to a process and not to a thread, while threads compute in it.

    One thread for BLAS and torch, and which warnings are shown: where several threads change these for a while, the
    last to leave puts back what another one had set. sharers: how many share the machine's cores.
    """
    before = sys.getswitchinterval()
    with one_thread(), torch_threads(1), cores_shared(sharers), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
        sys.setswitchinterval(SWITCH)
        try:
            yield
        finally:
            sys.setswitchinterval(before)

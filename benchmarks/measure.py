"""Time and memory of a job in a process of its own, forked with its arrays in place."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

Job = Callable[[], Iterator[list[int]]]
"""Picks, call after call."""


@dataclass(frozen=True)
class Measured:
    """What a job took. seconds: of each of its calls; peak_mb: memory above what it was given; picks: the first."""

    seconds: list[float]
    peak_mb: float
    picks: list[int]


def measure(job: Job) -> Measured:
    """Run a job in a forked process. Errors: RuntimeError when it failed, or was killed."""
    gc.collect()  # or the child would do it, and free what it counted before
    receiver, sender = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(target=_run, args=(job, sender))
    process.start()
    sender.close()
    try:
        found: Measured | str = receiver.recv()
    except EOFError:
        found = "killed"
    process.join()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def _run(job: Job, sender: Connection) -> None:
    ctypes.CDLL(None).malloc_trim(0)  # or the allocator would, in the middle of the job
    before = _anonymous_mb()
    peak, seconds, picks, stop = [before], [], [], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            peak[0] = max(peak[0], _anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            calls, started = job(), time.perf_counter()
            for picked in calls:
                seconds.append(time.perf_counter() - started)
                picks.append(picked)
                started = time.perf_counter()
        found: Measured | str = Measured(seconds, peak[0] - before, picks[0])
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    stop.set()
    watcher.join()
    sender.send(found)


def _anonymous_mb() -> float:
    """Return this process's own memory, MB: without mapped files, which the system can take back."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell a process's anonymous memory; Linux does")

"""The processes behind the page: they compute, the server writes. Each is started again when it dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from labelwise.errors import InputError
from labelwise.labelling.decoding import uninterrupted
from labelwise.labelling.options import options_named

RESTARTS = 3
"""A process that dies so often in a row is left dead, and the page says so."""
NICE = 10
Hear = Callable[[str, Any], None]
"""Called in a thread of the server with each report of a process: its kind and content."""
Run = Callable[[Any, Hear], None]
Make = Callable[[], Run]


class Worker:
    """One process that takes one job at a time. kind: what people call it; make: called in the process, once, returns

    what takes a job and says reports.
    """

    def __init__(self, kind: str, make: Make, hear: Hear) -> None:
        self.kind, self.make, self.hear = kind, make, hear
        self.lock = threading.Lock()
        self.job: Any = None
        self.deaths = 0
        self.closed = False
        self.process: Any = None
        self.pipe: Connection | None = None

    @property
    def busy(self) -> bool:
        """Whether it has a job."""
        return self.job is not None

    def give(self, job: Any) -> None:
        """Hand a job over; the worker must be idle."""
        with self.lock:
            assert self.job is None
            self.job = job
            if self.process is None or not self.process.is_alive():
                self._start()
            self._send()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(self.kind, self.make, theirs), name=f"labelwise {self.kind}")
        with uninterrupted():
            self.process.start()
        theirs.close()
        threading.Thread(target=self._listen, args=(self.pipe, self.process), daemon=True).start()

    def _send(self) -> None:
        """Send the job from a thread of its own: a new process reads only when it has loaded all that it needs."""
        pipe, job = self.pipe, self.job
        assert pipe is not None

        def send() -> None:
            with contextlib.suppress(OSError):  # it died: the listener finds out
                pipe.send(job)

        threading.Thread(target=send, daemon=True).start()

    def _listen(self, pipe: Connection, process: Any) -> None:
        while True:
            try:
                kind, content = pipe.recv()
            except (EOFError, OSError):
                break
            if kind == "done":
                self.deaths = 0
                with self.lock:
                    self.job = None
            self.hear(kind, content)
        if not self.closed:
            self._died(process)

    def _died(self, process: Any) -> None:
        process.join()
        with self.lock:
            job, self.deaths = self.job, self.deaths + 1
            if job is None or self.closed:
                return
            if self.deaths < RESTARTS:
                self._start()
                self._send()
                return
            self.job = None
        self.hear("problem", f"{self.kind} stopped {RESTARTS} times; labels are kept, and can be given on")
        self.hear("done", None)

    def close(self) -> None:
        """Stop the process; what it was doing is lost, and done again next time."""
        with self.lock:  # it may have died, and be starting again
            self.closed = True
            process = self.process
        if process is not None:
            process.terminate()
            process.join(5)


def _work(kind: str, make: Make, pipe: Connection) -> None:
    """Take jobs until the server is gone, then end at once: threads of a job's libraries would wait for ever."""
    os.nice(NICE)  # people first
    with contextlib.suppress(BrokenPipeError):  # the server is gone
        _take_jobs(kind, make, pipe)
    os._exit(0)


def _take_jobs(kind: str, make: Make, pipe: Connection) -> None:
    run = make()
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            with options_named():
                run(job, lambda what, content: pipe.send((what, content)))
        except InputError as error:
            pipe.send(("problem", str(error)))
        except BrokenPipeError:  # the server is gone
            raise
        except OSError as error:  # a full disk, a folder that may not be written to: again at the next start
            where = f" at {error.filename}" if error.filename else ""
            reason = error.strerror or str(error)
            pipe.send(("problem", f"{kind} stopped{where}: {reason}; labels are kept; mend it and start again"))
        pipe.send(("done", None))


def preparation() -> Run:
    """Return what reads, groups and embeds images."""
    from labelwise.labelling.preparation import prepare

    return prepare


def training() -> Run:
    """Return what computes rounds, and asks zero-shot models."""
    from labelwise.labelling.messages import Ask
    from labelwise.labelling.training import Trainer, suggested

    trainer = Trainer()

    def run(job: Any, say: Hear) -> None:
        if isinstance(job, Ask):
            say("suggested", suggested(job))
        else:
            trainer.train(job, lambda found: say(type(found).__name__.lower(), found))

    return run

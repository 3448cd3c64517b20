"""An engine for tests: fits that wait in it, from any thread, are computed together by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from queue import Empty, SimpleQueue
from typing import Any

from labelwise.models.learner import Stopped

SECONDS = 0.005
"""How long it waits for more fits once it has one."""


class Together:
    """Computes what is asked for, in packs. packs: how many fits each one had, in order."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self.packs: list[int] = []
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.futures: list[Future[Any]] = []
        threading.Thread(target=self._serve, daemon=True, name="together").start()

    def compute(self, work: Callable[[], Any]) -> Any:
        """Block until the work is done. Errors: Stopped."""
        future: Future[Any] = Future()
        with self.lock:
            if self.stopped.is_set():
                raise Stopped
            self.futures.append(future)
            self.asked.put((work, future))
        try:
            return future.result()
        except CancelledError:
            raise Stopped from None

    def stop(self) -> None:
        """Release all who wait."""
        with self.lock:
            self.stopped.set()
            for future in self.futures:
                future.cancel()
        self.asked.put(None)

    def _serve(self) -> None:
        while (first := self.asked.get()) is not None:
            pack = [first]
            while (more := self._more()) is not None:
                pack.append(more)
            self.packs.append(len(pack))
            for work, future in pack:
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)

    def _more(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        try:
            more = self.asked.get(timeout=SECONDS)
        except Empty:
            return None
        if more is None:
            self.asked.put(None)  # for the loop outside, which ends by it
        return more

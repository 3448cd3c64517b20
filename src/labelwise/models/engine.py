"""Trains the fits of many runs together on one device: a fit that ends makes room for the next one of any run.

`Engine.fit` is called from any thread and blocks until its fit is done. A `Lane` is one pack with a thread of its own,
and on a GPU a stream. More fits are on the device than have places: while some are validated, others train in their
stead. A fit's numbers do not depend on when it has a place, on which, or on who its neighbours are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.models.backbone import torch_threads
from labelwise.models.course import Course
from labelwise.models.graphs import device_errors, on
from labelwise.models.learner import Stopped
from labelwise.models.places import Checker, Trainer, sent

Rows = NDArray[np.int64]
JOIN_SECONDS = 10.0
"""How long lanes may take to end the turns that they are in."""


@dataclass(eq=False)
class Fit:
    """One fit, as an engine is asked for it. fitting, held: (rows of the data set, labels); balance: (classes,).

    weights, statistics: the initial state, (P,) and (S,). They end as the best ones found, on the CPU.
    """

    course: Course
    fitting: tuple[Rows, Rows]
    held: tuple[Rows, Rows]
    balance: NDArray[np.float32]
    weights: torch.Tensor
    statistics: torch.Tensor
    order: NDArray[np.int64] = field(init=False)  # (s, 5, B), the steps up to the next validation
    rates: NDArray[np.float32] = field(init=False)  # (s, 2), what they are updated by
    done: int = 0  # of these steps
    images_checked: int = 0  # images through the network in validations
    seconds: float = 0.0
    numbers: torch.Tensor = field(init=False)  # (copies, P) on the device, while it has no place
    weighed: torch.Tensor = field(init=False)  # its balance, on the device
    event: Any = None  # of a GPU, after which the best weights are there
    future: Future[Fit] = field(default_factory=Future)

    def draw(self, trainer: Trainer) -> None:
        """Draw the steps up to the next validation."""
        before, rate = self.course.steps, self.course.rate
        drawn = self.course.segment()
        rows, labels = self.fitting
        own = (rows[drawn.rows], drawn.top, drawn.left, drawn.flipped, labels[drawn.rows])
        self.order, self.done = np.stack(own, axis=1).astype(np.int64), 0
        self.rates = trainer.rate(rate, np.arange(before, self.course.steps) + 1)

    @property
    def left(self) -> int:
        """Steps to the next validation."""
        return len(self.order) - self.done

    def result(self) -> Fit:
        """Wait until it is done; its weights and statistics are on the CPU then."""
        self.future.result()
        if self.event is not None:
            self.event.synchronize()
        self.weights, self.statistics = self.weights.cpu(), self.statistics.cpu()
        return self


@dataclass
class Validating:
    """Fits in validation. statistics: the batch-norm statistics of each, (S,); sums: of losses and of weights, (2, E).

    event: of a GPU, after which sums are there.
    """

    fits: list[Fit]
    statistics: list[torch.Tensor]
    sums: torch.Tensor
    event: Any = None

    def ready(self) -> bool:
        """Return whether the losses are there."""
        return self.event is None or bool(self.event.query())


class Lane:
    """One pack: its places, the fits that are on the device, and the order in which they take turns."""

    def __init__(self, trainer: Trainer, checker: Checker, stream: Any) -> None:
        self.trainer, self.checker, self.stream = trainer, checker, stream
        self.waiting: queue.SimpleQueue[Fit | None] = queue.SimpleQueue()
        self.asked = 0  # fits that it was given and that are not done
        self.places: list[Fit | None] = [None] * trainer.model.count
        self.ready: deque[Fit] = deque()
        self.due: deque[Fit] = deque()
        self.checking: deque[Validating] = deque()
        self.fits: list[Fit] = []  # all that are on the device
        self.charged = 0.0  # until when they were charged their time
        self.closed = False

    def turn(self) -> None:
        """Do one turn: take fits in, train those in places up to the first that is due, validate those that are.

        A pack takes as long with empty places, so it waits for those in validation where they can fill it.
        """
        self._admit()
        self._fill()
        if all(self.places) or not self.checking:
            self._train()
        while self.due and (len(self.due) >= self.checker.model.count or not self.ready):
            self._check()
        while self.checking and (self.checking[0].ready() or not (self.ready or all(self.places))):
            self._judge(self.checking.popleft())
        self._charge()

    @property
    def most(self) -> int:
        """Fits that can be on the device: those in places, those that are validated, and some that are ready."""
        return len(self.places) + 2 * int(self.checker.model.count)

    @property
    def bytes_of_fits(self) -> int:
        """Memory of the fits that are on the device beside those in places: numbers, and the best weights of all."""
        copies, size = len(self.trainer.numbers.values), 4 * len(self.trainer.numbers.layout)
        return size * ((self.most - len(self.places)) * copies + self.most)

    @property
    def failures(self) -> list[str]:
        """Why steps are not replayed as graphs, each reason."""
        return [failure for failure in (*self.trainer.failures, *self.checker.failures) if failure]

    def _admit(self) -> None:
        """Take fits in, as many as there is room for; without any, wait for one."""
        while not self.closed and len(self.fits) < self.most:
            try:
                fit = self.waiting.get(block=not self.fits)
            except queue.Empty:
                return
            if fit is None:
                self.closed = True
                return
            if not self.fits:
                self.charged = time.perf_counter()
            self.fits.append(fit)
            values, device = self.trainer.numbers.values, self.trainer.source.device
            fit.numbers = values.new_zeros(len(values), len(fit.weights))
            fit.numbers[0].copy_(sent(fit.weights.numpy(), device))
            fit.weighed = sent(fit.balance, device)
            fit.draw(self.trainer)
            self.ready.append(fit)

    def _fill(self) -> None:
        for place, there in enumerate(self.places):
            if there is None and self.ready:
                fit = self.places[place] = self.ready.popleft()
                self.trainer.put(place, fit.numbers, fit.weighed)
                del fit.numbers  # they are in the place now

    def _train(self) -> None:
        training = {place: fit for place, fit in enumerate(self.places) if fit}
        if not training:
            return
        steps = min(fit.left for fit in training.values())
        batch = self.trainer.recipe.batch
        order = np.zeros((steps, 5, len(self.places), batch), np.int64)
        rates = np.zeros((steps, len(self.places), 2), np.float32)
        rates[:, :, 1] = 1
        for place, fit in training.items():
            part = slice(fit.done, fit.done + steps)
            order[:, :, place], rates[:, place] = fit.order[part], fit.rates[part]
            fit.done += steps
        self.trainer.steps(order, rates)
        for place, fit in training.items():
            if not fit.left:
                fit.numbers = self.trainer.numbers.read(place)
                self.places[place] = None
                self.due.append(fit)

    def _check(self) -> None:
        """Start the validation of some that are due."""
        fits = [self.due.popleft() for _ in range(min(len(self.due), self.checker.model.count))]
        self.checker.start([fit.numbers[0] for fit in fits])
        samples = [fit.course.sample() for fit in fits]
        self.checker.collect([fit.fitting[0][few] for fit, few in zip(fits, samples, strict=True)])
        sums = self.checker.score([(*fit.held, fit.balance) for fit in fits]).clone()
        for fit, few in zip(fits, samples, strict=True):
            fit.images_checked += len(fit.held[0]) + (len(few) if self.checker.collects else 0)
        statistics = [self.checker.statistics.read(place)[0] for place in range(len(fits))]
        self.checking.append(Validating(fits, statistics, sums.to("cpu", non_blocking=True), self._event()))

    def _event(self) -> Any:
        """Return an event after all that was started so far; None on a device without streams."""
        if self.stream is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _judge(self, group: Validating) -> None:
        """Take in the losses of those that were validated; who goes on is ready again."""
        if group.event is not None:
            group.event.synchronize()
        losses = (group.sums[0] / group.sums[1]).tolist()
        self._charge()
        for fit, loss, statistics in zip(group.fits, losses[: len(group.fits)], group.statistics, strict=True):
            if fit.course.validated(loss):
                fit.weights, fit.statistics = fit.numbers[0].clone(), statistics
            if fit.course.stopped:
                del fit.numbers
                fit.event = self._event()  # where it fails, the fit is still known
                self.fits.remove(fit)
                fit.future.set_result(fit)
            else:
                fit.draw(self.trainer)
                self.ready.append(fit)

    def _charge(self) -> None:
        """Divide the time since the last charge among the fits on the device."""
        now = time.perf_counter()
        for fit in self.fits:
            fit.seconds += (now - self.charged) / len(self.fits)
        self.charged = now


class Engine:
    """Some lanes, each in a thread; they begin with the first fit."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.broken: Exception | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def fit(self, fit: Fit) -> Fit:
        """Do a fit; from any thread. Errors: Stopped after `stop`, InputError where the device fails."""
        with self._lock:
            if self.broken:
                raise self.broken
            lane = self._lane()
            lane.asked += 1
            lane.waiting.put(fit)
            if not self._threads:
                self._threads = [threading.Thread(target=self._work, args=(lane,), daemon=True) for lane in self.lanes]
                for thread in self._threads:
                    thread.start()
        try:
            with device_errors():
                return fit.result()
        finally:
            with self._lock:
                lane.asked -= 1

    def _lane(self) -> Lane:
        """Return the lane for one more fit: as many are in use as the fits fill, and the emptiest of these gets it.

        A pack takes as long with empty places, so two that are half full do less than one.
        """
        asked = 1 + sum(lane.asked for lane in self.lanes)
        full = max(1, asked // len(self.lanes[0].places))
        return min(self.lanes[:full], key=lambda lane: lane.asked)

    def stop(self) -> None:
        """End all fits, those that wait too: each caller gets Stopped. Safe to call twice, and from any thread."""
        self._break(Stopped("the engine was told to stop"))
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:  # a process must not end while a device computes for it
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self, lane: Lane) -> None:
        try:
            with on(lane.stream), torch_threads(1), device_errors():
                while self.broken is None and not lane.closed:
                    lane.turn()
        except Exception as error:
            self._break(error)
        for fit in lane.fits:
            fit.future.set_exception(self.broken or Stopped("the engine has stopped"))

    def _break(self, why: Exception) -> None:
        with self._lock:
            self.broken = self.broken or why
            for lane in self.lanes:
                with suppress(queue.Empty):
                    while True:
                        fit = lane.waiting.get(block=False)
                        if fit is not None:
                            fit.future.set_exception(self.broken)
                lane.waiting.put(None)  # wakes it where it waits for a fit

"""Where the time of a small study goes: the parts of a round, timed from outside, each second counted once."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks.jobs import Setup, Sizes, dataset, learner, our_fit, study
from labelwise import loop, records
from labelwise.data.dataset import Dataset
from labelwise.models import augment, course, finetune, training
from labelwise.study import executor

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("network", nn.Module, "__call__"),
    ("network", torch.nn.functional, "cross_entropy"),
    ("network", torch.Tensor, "backward"),
    ("optimizer", torch.optim.Adam, "step"),
    ("optimizer", torch.optim.Adam, "zero_grad"),
    ("selection", loop, "run_strategy"),
    ("draws, stopping", course.Course, "segment"),
    ("draws, stopping", course.Course, "sample"),
    ("draws, stopping", course.Course, "validated"),
    ("augmentation", training, "pad"),
    ("augmentation", training, "crop_and_flip"),
    ("augmentation", augment.Scale, "__call__"),
    ("weights", finetune.FineTune, "_reset"),
    ("weights", finetune.FineTune, "scoring_module"),
    ("weights", training, "_copy"),
    ("validation split, pixels", finetune, "validation_split"),
    ("validation split, pixels", finetune.FineTune, "_take"),
    ("metrics", loop, "evaluate"),
    ("records", records.Store, "add_round"),
)
"""What is timed: (part, owner, name). Forward and backward passes and the loss are the network's, also where they
validate or recompute batch-norm statistics."""


class Clock:
    """Seconds by part; what a timed function calls is its own time. Starts when the study's runs are planned."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside, self.started = False, 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return function(*args, **kwargs)
            self.inside, started = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.inside = False
                self.seconds[part] += time.perf_counter() - started

        return call

    def planned(self, runs: Any) -> None:
        self.seconds.clear()
        self.started = time.perf_counter()

    def shares(self) -> dict[str, float]:
        """Return each part's share of the time since the start, and what is left."""
        total = time.perf_counter() - self.started
        parts = {**self.seconds, "all else": total - sum(self.seconds.values())}
        return {part: seconds / total for part, seconds in parts.items()}

    def work(self, what: str, done: int, total: int) -> None: ...
    def recorded(self, run: Any, done: Any) -> None: ...
    def skipped(self, run: Any, rounds: int) -> None: ...


@contextmanager
def _timed(clock: Clock) -> Iterator[None]:
    with ExitStack() as patches:
        for part, owner, name in PARTS:
            patches.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        yield


def shares_of_fit(setup: Setup, labels: int, epochs: int) -> dict[str, float]:
    """Return each part's share of one fit's time."""
    clock = Clock()
    learner(setup, epochs)  # made once for all fits
    with _timed(clock):
        clock.planned(None)
        our_fit(setup, labels, epochs)
        return clock.shares()


def shares_of_study(setup: Setup, sizes: Sizes) -> dict[str, float]:
    """Return each part's share of a small study's time, from the first fit to the last record."""
    clock = Clock()

    def opened(*_: Any) -> Dataset:
        return dataset(setup)

    with tempfile.TemporaryDirectory() as folder, _timed(clock), patch.object(executor, "open_dataset", opened):
        executor.run_study(study(setup, sizes), Path(folder), clock, 1)
        return clock.shares()

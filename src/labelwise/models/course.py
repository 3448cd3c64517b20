"""The course of one fit, whatever computes it: the images of each step, when to validate, the rate, when to stop.

It computes nothing itself. A model alone on a CPU and one of many that are packed together on a GPU follow the same
course, from the same draws. Two rules make it sound with a few hundred labels (study, section on the learner): every
step has exactly `batch` images, and validations are at least a dozen steps apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.config import Learner

PADDING = 4
"""Pixels of black around an image before it is cropped again at random."""
CHECK_STEPS = 12
"""Steps from one validation to the next, at least: with 127 images, three epochs of four steps."""
STATISTICS_IMAGES = 512
"""Training images, at most, from which batch-norm statistics are recomputed before a validation."""
STATISTICS_BATCH = 128
"""Images at once while statistics are recomputed: always exactly so many."""
VALIDATION_BATCH = 128
"""Images at once in a validation; in a pack always exactly so many of each fit, of which the last can be blank."""
FACTOR, PLATEAU = 0.3, 3
"""The plateau schedule: the learning rate times FACTOR after PLATEAU validations without a lower loss."""


def rhythm(count: int, batch: int) -> tuple[int, int]:
    """Return the steps of a pass over `count` images, and those from one validation to the next."""
    epoch = math.ceil(count / batch)
    return epoch, max(CHECK_STEPS, epoch)


@dataclass(frozen=True)
class Steps:
    """The draws of s consecutive steps. rows: (s, B) of the training part; top, left: (s, B) 0..8; flipped: (s, B)."""

    rows: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    flipped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Steps]:
        return (Steps(*one) for one in zip(self.rows, self.top, self.left, self.flipped, strict=True))


@dataclass
class Course:
    """Drives one fit: `segment`, train on it, `sample`, validate, `validated`, until `stopped` says why it ended.

    count: images of the training part. rate: the learning rate now; steps: done so far; losses: (steps, loss) of each
    validation.
    """

    count: int
    recipe: Learner
    rng: np.random.Generator
    steps: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.epoch, self.between = rhythm(self.count, self.recipe.batch)
        self._most = self.recipe.epochs * self.epoch
        self._left = np.empty(0, np.int64)
        self._waited = 0
        self._rate = Rate(self.recipe)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self._rate.now

    @property
    def epochs(self) -> int:
        """Passes over the training part so far; one that has begun counts."""
        return math.ceil(self.steps / self.epoch)

    @property
    def best_epoch(self) -> int:
        """The epoch after which the loss was lowest."""
        return math.ceil(self.best_step / self.epoch)

    def segment(self) -> Steps:
        """Draw the steps up to the next validation, and count them as done."""
        size = self.recipe.batch
        steps = min(self.between, self._most - self.steps)
        self.steps += steps
        top, left = self.rng.integers(0, 2 * PADDING + 1, (2, steps, size))
        flipped = self.rng.random((steps, size)) < 0.5
        return Steps(self._stream(steps * size).reshape(steps, size), top, left, flipped)

    def _stream(self, wanted: int) -> NDArray[np.int64]:
        """Return the next rows of one stream of permutations, one a pass over the training part."""
        parts = [self._left]
        while sum(map(len, parts)) < wanted:
            parts.append(self.rng.permutation(self.count))
        stream = np.concatenate(parts)
        self._left = stream[wanted:]
        return stream[:wanted]

    def sample(self) -> NDArray[np.int64]:
        """Draw the rows for batch-norm statistics: whole batches of STATISTICS_BATCH, filled up with the first ones."""
        few = self.rng.choice(self.count, min(self.count, STATISTICS_IMAGES), replace=False)
        return np.resize(few, math.ceil(len(few) / STATISTICS_BATCH) * STATISTICS_BATCH)

    def validated(self, loss: float) -> bool:
        """Take in the loss of the weights as they are now; return whether they are the best so far."""
        self.losses.append((self.steps, loss))
        if not math.isfinite(loss):
            self.stopped = "diverged"
            return False
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_step, self._waited = loss, self.steps, 0
        else:
            self._waited += 1
        if self._waited >= self.recipe.patience:
            self.stopped = "early"
        elif self.steps >= self._most:
            self.stopped = "epochs"
        self._rate.validated(self.steps / self._most, loss)
        return better


class Rate:
    """The learning rate, set after each validation: lower on a plateau (torch's rule), a half cosine, or constant."""

    def __init__(self, recipe: Learner) -> None:
        self._recipe, self._now = recipe, recipe.lr
        dial = torch.optim.SGD([torch.zeros(1)], recipe.lr)  # torch's schedules turn an optimizer's rate
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(dial, factor=FACTOR, patience=PLATEAU)

    @property
    def now(self) -> float:
        """The rate of the next step."""
        return self._now

    def validated(self, share: float, loss: float) -> None:
        """Take in a validation. share: of the most steps that the fit can take, those that are done."""
        if self._recipe.schedule == "plateau":
            self._plateau.step(loss)
            self._now = float(self._plateau.get_last_lr()[0])
        elif self._recipe.schedule == "cosine":
            self._now = self._recipe.lr * 0.5 * (1 + math.cos(math.pi * share))

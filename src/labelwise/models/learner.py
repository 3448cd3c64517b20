"""What a learner is: `fit` on labelled images, then `predict` any images. The loop knows nothing more of models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels, Predictions
from labelwise.data.images import Progress
from labelwise.seeds import generator


@dataclass(frozen=True)
class FitCost:
    """What a fit cost. epochs: passes over the images trained on; images: passes forward and backward."""

    seconds: float
    epochs: int
    images_forward: int = 0
    images_backward: int = 0


@dataclass(frozen=True)
class Dropout:
    """Monte Carlo dropout before the last layer: passes T, the share of features set to 0, and a seed."""

    passes: int
    rate: float
    seed: int


IN_CACHE = 256
"""Rows that are masked at a time: they stay in the processor's cache."""


def dropped(features: Floats, dropout: Dropout, place: int, head: Callable[[Floats], Floats]) -> Floats:
    """Return (T, n, K) outputs of `head` on (n, D) features with dropout; place: what stands for the features'."""
    rng = generator(dropout.seed, "dropout", place)
    kept = np.float32(1 - dropout.rate)
    bound = np.uint32(math.ceil(float(kept) * 2**24) << 8)
    scaled, masked = features / kept, np.empty_like(features)
    outputs = []
    for _ in range(dropout.passes):
        for start in range(0, len(features), IN_CACHE):
            block = slice(start, start + IN_CACHE)
            # `rng.random(..., np.float32) < kept`, to the bit: its floats are the upper 24 bits of these integers
            mask = rng.integers(0, 2**32, scaled[block].shape, np.uint32) < bound
            np.multiply(scaled[block], mask.view(np.uint8), out=masked[block])
        outputs.append(head(masked))
    return np.stack(outputs)


def inverse_frequency(labels: Labels, classes: int) -> NDArray[np.float64]:
    """Return each class's weight (K,): inverse to its frequency, with a mean of 1 over the labels."""
    counts = np.bincount(labels, minlength=classes)
    weights: NDArray[np.float64] = len(labels) / ((counts > 0).sum() * np.maximum(counts, 1).astype(np.float64))
    return weights


class Fitted(Protocol):
    """A trained model, a dataclass: all but its learner can be sent to another process.

    labels_train + labels_val is the number of labels it was given.
    """

    learner: Any
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Dropout | None = None) -> Predictions:
        """Return class probabilities for the images at `indices`; the model's embeddings of them, and probabilities
        with dropout on the embeddings, if asked for."""
        ...


@dataclass(frozen=True)
class Preparation:
    """What was computed once before the first fit; every run is charged all of it in its first round."""

    seconds_score: float = 0.0
    seconds_evaluate: float = 0.0
    images_forward: int = 0


class Stopped(Exception):  # noqa: N818  it is no error: somebody called `Learner.stop`
    """A learner was told to stop, and so gave up a fit or a prediction."""


class Learner(Protocol):
    """Trains models. Equal arguments give equal models; `key` stands for everything else that a fit depends on.

    side_by_side: runs that go on at once in one process by default, each in a thread of its own. Where it is above 1,
    all of the learner and of what it fitted may be called from any thread. 1: one thread alone.
    """

    key: str
    used: dict[str, str]
    preparation: Preparation
    frozen_embeddings: bool
    side_by_side: int

    def pretrained(self, progress: Progress) -> tuple[Floats, Preparation]:
        """Return the backbone's embeddings before training (N, D), from the cache if they are there; and their cost."""
        ...

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose what the study tunes once a row and seed on the initial set; the result goes into every fit."""
        ...

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> Fitted:
        """Train on the labelled set. indices: (L,) sorted dataset indices; labels: (L,); weighting: none, inverse.

        Errors: Stopped after `stop` was called, also for those who are waiting.
        """
        ...

    def stop(self) -> None:
        """Give up every fit that goes on in another thread, for good. May be called from any thread, and twice."""
        ...


@dataclass(frozen=True)
class Calibration:
    """How fast a learner is here. once: seconds before the first run; forward_once: images embedded for each run;

    fit, score: seconds of one worker as a function of labels and of images; forward, backward: the backbone's passes
    expected in a fit, as a function of its labels; forward_scored: its passes for each image that is scored; features:
    D; side_by_side: the learner's own, and then fit and score are those of one of so many runs.
    spread: low and high of the passes and seconds of fits of so many labels each, together, as factors of what is
    expected; 1 and 1 where fits do not end by themselves.
    """

    once: float
    forward_once: int
    fit: Callable[[int], float]
    score: Callable[[int], float]
    forward: Callable[[int], int]
    backward: Callable[[int], int]
    forward_scored: int
    features: int
    frozen_embeddings: bool
    side_by_side: int = 1
    spread: Callable[[Sequence[int]], tuple[float, float]] = lambda _sizes: (1.0, 1.0)


@dataclass(frozen=True)
class LearnerInfo:
    """One row of LEARNERS. module: has `build` and `calibrate` and is imported only when it is used; where keys of
    `learner` are its own, `check(learner)` too. images: whether it looks at images, which data of features lack.
    """

    name: str
    summary: str
    module: str
    images: bool = False
    keys: tuple[str, ...] = ()

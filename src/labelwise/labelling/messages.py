"""What the server and the processes behind it tell each other. It loads nothing heavy: the server never needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.labelling.store import Image


@dataclass(frozen=True)
class Advice:
    """say: the short answer; why: a sentence with its numbers."""

    say: str
    why: str


@dataclass(frozen=True)
class Work:
    """What is to be prepared. looks: ids, thumbnails and content hashes of images that were read before; bits, resize:

    see Settings.
    """

    root: Path
    cache: Path
    images: list[Image]
    looks: tuple[list[int], list[bytes], list[str]]
    backbone: str
    weights: str
    device: str
    bits: int = 0
    resize: str = "crop"


@dataclass(frozen=True)
class Job:
    """What to train on. All images are rows 0..N-1 (their id - 1) of the embeddings in `file`, (rows, D) float16.

    indices, labels, rounds, random: (L,) the training labels in their order, classes 0..K-1, the round that offered
    each, and whether it was a random or a picked one (the cold start's and a grid's are neither); ahead: the labels
    that can be bought next, 0 for none; test, truth: the test slice's; pool: rows that may be picked; seconds: a
    label takes; seq: the last event that was seen; cold: nothing can be trained yet, typical images are picked.
    """

    number: int
    file: str
    rows: int
    features: int
    columns: tuple[int, ...]
    indices: Indices
    labels: Labels
    rounds: NDArray[np.int64]
    random: NDArray[np.bool_]
    picked: NDArray[np.bool_]
    test: Indices
    truth: Labels
    pool: Indices
    strategy: str
    options: dict[str, Any]
    batch: int
    ahead: int
    seed: int
    seconds: float | None
    seq: int
    cold: bool = False

    def same_data(self, other: Job | None) -> bool:
        """Return whether another training saw the same labels, images and classes."""
        arrays = ("indices", "labels", "test", "truth", "pool")
        return (
            other is not None
            and (self.columns, self.rows, self.cold) == (other.columns, other.rows, other.cold)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays)
        )


@dataclass(frozen=True)
class Picked:
    """What a round gives at once. picks: rows, best first; probs: (N, K) of every embedded row, or None before the
    first model; correct: of how many test labels."""

    number: int
    seq: int
    columns: tuple[int, ...]
    picks: Indices
    kind: str  # typical: the cold start; picked: the strategy
    labels: int
    probs: NDArray[np.float32] | None = None
    correct: int = 0
    test: int = 0
    interval: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Judged:
    """What takes longer. doubted: (row, class that the model would give, its probability), the worst first."""

    number: int
    advice: Advice
    helping: Advice
    doubted: list[tuple[int, int, float]]


@dataclass(frozen=True)
class Ask:
    """What a zero-shot model is asked before there is a model of our own. images: all; columns: class ids of names."""

    root: Path
    images: list[Image]
    names: tuple[str, ...]
    columns: tuple[int, ...]
    model: str
    device: str
    bits: int = 0
    resize: str = "crop"

"""What the server and the processes behind it tell each other. It loads nothing heavy: the server never needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    """What is to be prepared. looks: ids, thumbnails and content hashes of images that were read before;

    project: its id, by which what is decided for it is known from another project's; bits, resize: see Settings.
    """

    root: Path
    cache: Path
    images: list[Image]
    looks: tuple[list[int], list[bytes], list[str]]
    backbone: str
    weights: str
    device: str
    project: str
    bits: int = 0
    resize: str = "crop"


@dataclass(frozen=True)
class NewRows:
    """What has been embedded. folder: the store; features: D; ids: (n,) of images; hashes: (n, 32), their content."""

    folder: str
    features: int
    ids: Indices
    hashes: NDArray[np.uint8]


@dataclass
class Embedded:
    """All that is embedded so far. hashes: (N, 32) by id - 1, the content of images that have a row, else zeros."""

    folder: str = ""
    features: int = 0
    hashes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 32), np.uint8))

    def add(self, new: NewRows, images: int) -> None:
        """Take a report in. images: how many there are."""
        if new.folder != self.folder:
            self.folder, self.features, self.hashes = new.folder, new.features, self.hashes[:0]
        if more := images - len(self.hashes):
            self.hashes = np.concatenate([self.hashes, np.zeros((more, 32), np.uint8)])
        self.hashes[new.ids - 1] = new.hashes

    def has(self, image: int) -> bool:
        """Return whether an image, by id, has a row."""
        return image <= len(self.hashes) and bool(self.hashes[image - 1].any())

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which images have a row, (N,) by id - 1."""
        return np.asarray(self.hashes.any(axis=1))


@dataclass(frozen=True)
class Job:
    """What to train on. An image is a row 0..N-1 (its id - 1); its embedding, D numbers, is in the store `folder`.

    hashes: (N, 32), the content of images that are embedded, else zeros: those are in none of the arrays below.
    indices, labels, rounds, random: (L,) the training labels in their order, classes 0..K-1, the round that offered
    each, and whether it was a random or a picked one (the cold start's and a grid's are neither); ahead: the labels
    that can be bought next, 0 for none; test, truth: the test slice's; pool: rows that may be picked; seconds: a
    label takes; seq: the last event that was seen; cold: nothing can be trained yet, typical images are picked.
    """

    number: int
    folder: str
    hashes: NDArray[np.uint8]
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

    @property
    def rows(self) -> int:
        """N, how many images there are up to the last that is embedded."""
        return len(self.hashes)

    def only(self, there: NDArray[np.bool_]) -> Job:
        """Return the job without the images that are not `there`, (N,)."""
        known, test = there[self.indices], there[self.test]
        names = ("indices", "labels", "rounds", "random", "picked")
        kept: dict[str, Any] = {name: getattr(self, name)[known] for name in names}
        return replace(self, test=self.test[test], truth=self.truth[test], pool=self.pool[there[self.pool]], **kept)

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

"""The study's rows: which subset of the pool sets the label budget N, and the draws that start a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.config import Row, Study
from labelwise.data.dataset import Dataset
from labelwise.data.labels import finder
from labelwise.errors import InputError, nearest
from labelwise.seeds import generator


@dataclass(frozen=True)
class Subset:
    """A row's subset, the same for every arm of a seed: (N,) dataset indices, and the minority classes if any."""

    indices: Indices
    minority: tuple[int, ...]

    @property
    def budget(self) -> int:
        """N, the row's label budget."""
        return len(self.indices)


def draw_subset(dataset: Dataset, study: Study, row: Row, seed: int) -> Subset:
    """Draw a row's subset of the pool, stratified by the seed. Errors: InputError when the pool is too small.

    Shares are of each class's own images in the pool, at least one image a class.
    """
    labels = dataset.labels[dataset.pool]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    if row.labels is not None:
        if row.labels > len(labels):
            raise InputError(
                f"sizes: a budget of {row.labels:,} labels is larger than the pool of {len(labels):,} images; lower it"
            )
        return Subset(dataset.pool[stratified(labels, row.labels, generator(seed, "subset", row.name))], ())
    assert row.share is not None
    shares = np.full(len(counts), row.share)
    minority: tuple[int, ...] = ()
    if row.minority_share is not None:
        minority = _minority(dataset, study, seed, row)
        shares[list(minority)] = row.minority_share
    wanted = np.maximum(1, np.floor(shares * counts + 0.5)).astype(np.int64)
    picked = _draw(labels, np.minimum(wanted, counts), generator(seed, "subset", row.name))
    return Subset(dataset.pool[picked], minority)


def _minority(dataset: Dataset, study: Study, seed: int, row: Row) -> tuple[int, ...]:
    """Return the minority classes: pinned by name, or drawn by the seed (the same for every row)."""
    count = len(study.minority) if isinstance(study.minority, tuple) else study.minority
    if not 0 < count < len(dataset.classes):
        raise InputError(
            f"minority: {count} minority classes do not fit row {row.name} of {len(dataset.classes)} classes; name or "
            f"draw 1 to {len(dataset.classes) - 1}"
        )
    if isinstance(study.minority, tuple):
        places = list(map(finder(dataset.classes), study.minority))
        if -1 in places:
            name = study.minority[places.index(-1)]
            raise InputError(f"minority: there is no class '{name}'{nearest(name, dataset.classes)}")
        return tuple(sorted(set(places)))
    drawn = generator(seed, "minority").choice(len(dataset.classes), size=study.minority, replace=False)
    return tuple(int(k) for k in np.sort(drawn))


def stratified(labels: Labels, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n positions by the labels' own class shares (largest remainders), at least one a class if n allows.

    Returns (n,) sorted positions into `labels`; n is at most their number. Equal remainders are drawn by lot.
    """
    assert n <= len(labels)
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    exact = counts * (n / len(labels))
    wanted = np.floor(exact).astype(np.int64)
    if n >= len(present):
        wanted[present] = np.maximum(wanted[present], 1)
    order = np.lexsort((rng.random(len(counts)), wanted - exact))  # most below its exact share first
    while (missing := n - wanted.sum()) > 0:
        order = order[wanted[order] < counts[order]]
        wanted[order[:missing]] += 1
    while wanted.sum() > n:
        wanted[np.argmax(wanted - exact - (wanted <= 1) * len(labels))] -= 1
    return _draw(labels, wanted, rng)


def _draw(labels: Labels, wanted: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw wanted[k] positions of each class k: sorted positions into `labels`."""
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=len(wanted)))[:-1])
    picked = [rng.permutation(of_class)[:number] for of_class, number in zip(by_class, wanted, strict=True)]
    return np.sort(np.concatenate(picked))

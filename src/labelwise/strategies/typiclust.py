"""TypiClust as published: the most typical image of each large cluster that holds no label yet."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labelwise.arrays import Floats, Indices
from labelwise.strategies.geometry import by_chunks, chunks, cluster, rows, squared_distances
from labelwise.strategies.table import Ask, Picks

SMALLEST = 5
"""Images up to which a cluster is too small, where there are larger ones (the authors' code)."""
LARGEST = 1_000
"""Images of a cluster among which neighbours are looked for: of a larger one a random sample."""
AT_ONCE = 16
"""Clusters that a core looks at before it takes others."""
SPARE = 44
"""Neighbours beyond those that typicality looks at: as many picks can leave before they are looked for anew."""


def typiclust(
    ask: Ask,
    *,
    clusters: Annotated[int, Field(ge=1)] = 500,
    neighbours: Annotated[int, Field(ge=1)] = 20,
) -> Picks:
    """Pick the most typical image of each of the largest clusters that hold no label yet (TypiClust).

    Hacohen et al. 2022: the pool's L2-normalised embeddings are clustered into as many clusters as labels there will
    be, at most 500; typicality is the inverse mean distance (plain L2) to the 20 nearest neighbours in the cluster, or
    to half of a small one. Clusters take turns, those with the fewest labels first, then the largest. Of a cluster
    above 1,000 images, neighbours are looked for in a random sample.
    """
    assert ask.embeddings is not None
    embeddings, pool = ask.embeddings, np.sort(np.concatenate([ask.candidates, ask.labelled]))
    count = min(clusters, len(ask.labelled) + ask.n)
    found = ask.once(f"clusters {count}", lambda: cluster(embeddings, pool, count, ask.fixed_rng()))
    members = _members(ask, found.of(ask.candidates), found.of(ask.labelled), len(found.centres))
    wanted = _turns(list(map(len, members)), ask.n)
    others = [own if len(own) <= LARGEST else ask.rng.choice(own, LARGEST, replace=False) for own in members]

    def look(part: slice) -> list[tuple[int, int, int, float]]:
        found = []
        for turn in range(part.start, part.stop):
            own, near = ask.candidates[members[turn]], ask.candidates[others[turn]]
            picks = _most_typical(embeddings, own, near, wanted[turn], neighbours)
            found += [(lap, turn, int(own[i]), value) for lap, (i, value) in enumerate(picks)]
        return found

    # in the order in which the clusters take turns
    picks = sorted(pick for part in by_chunks(look, len(members), AT_ONCE) for pick in part)
    return Picks(np.array([index for _, _, index, _ in picks]), np.array([value for *_, value in picks]))


def _turns(sizes: list[int], n: int) -> list[int]:
    """Return how many picks each cluster gives when they take turns until there are n."""
    left, wanted = np.array(sizes), np.zeros(len(sizes), np.int64)
    while (missing := n - int(wanted.sum())) > 0:
        wanted[np.flatnonzero(wanted < left)[:missing]] += 1
    return wanted.tolist()


def _members(
    ask: Ask, of_candidates: NDArray[np.int64], of_labelled: NDArray[np.int64], count: int
) -> list[NDArray[np.int64]]:
    """Return each cluster's candidates (positions), in the order in which the clusters take turns."""
    labels = np.bincount(of_labelled, minlength=count)
    sizes = np.bincount(of_candidates, minlength=count) + labels
    order = np.lexsort((np.arange(count), -sizes, labels))
    parts = np.split(np.argsort(of_candidates, kind="stable"), np.cumsum(np.bincount(of_candidates, minlength=count)))
    large = [parts[k] for k in order if len(parts[k]) and sizes[k] > SMALLEST]
    small = [parts[k] for k in order if len(parts[k]) and sizes[k] <= SMALLEST]
    # small clusters are left out, as long as the large ones hold enough
    return large if sum(map(len, large)) >= ask.n else large + small


class _Neighbours:
    """Typicality of a cluster's members (m,) among those not picked yet, from lists of their nearest ones.

    A list holds more neighbours than typicality looks at, so that picks can leave it; when one has too few left, all
    are made anew. So memory is (m, neighbours + SPARE) whatever the cluster's size, and the values are exact.
    """

    def __init__(self, embeddings: Floats, members: Indices, others: Indices, neighbours: int) -> None:
        self.embeddings, self.members, self.left, self.neighbours = embeddings, members, others, neighbours
        self.typical = np.ones(len(members))
        self.alone = len(others) < 2
        self._look()

    def _look(self) -> None:
        """Find each member's nearest ones among those left: distances in order, and who they are."""
        near = rows(self.embeddings, self.left, unit=True)
        keep = min(self.neighbours + SPARE, len(self.left))

        def closest(part: slice) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            distances = np.sqrt(squared_distances(rows(self.embeddings, self.members[part], unit=True), near))
            distances[self.members[part][:, None] == self.left] = np.inf  # to itself
            nearest = np.argpartition(distances, keep - 1, axis=1)[:, :keep]
            return np.take_along_axis(distances, nearest, axis=1), self.left[nearest]

        parts = [closest(part) for part in chunks(len(self.members))]
        self.distances = np.concatenate([values for values, _ in parts])
        self.who = np.concatenate([who for _, who in parts])
        self.complete = keep == len(self.left)
        self._weigh(np.arange(len(self.members)))

    def _weigh(self, some: NDArray[np.int64]) -> None:
        """Sort these members' lists, and take the inverse mean distance to the nearest; 0 where nobody is left."""
        order = np.argsort(self.distances[some], axis=1, kind="stable")
        self.distances[some] = np.take_along_axis(self.distances[some], order, axis=1)
        self.who[some] = np.take_along_axis(self.who[some], order, axis=1)
        self.within = min(self.neighbours, max(1, len(self.left) // 2))
        if not self.alone:
            self.typical[some] = 1 / (self.distances[some, : self.within].mean(axis=1, dtype=np.float64) + 1e-5)

    def leave(self, member: int) -> None:
        """Take a member (a position) out of everyone's neighbours."""
        index = self.members[member]
        self.left = self.left[self.left != index]
        if len(self.left):
            lists, places = np.nonzero(self.who == index)
            self.distances[lists, places] = np.inf
            fewer = min(self.neighbours, max(1, len(self.left) // 2)) < self.within
            self._weigh(np.arange(len(self.members)) if fewer else lists)
            if not self.complete and np.isinf(self.distances[lists, self.within - 1]).any():
                self._look()


def _most_typical(
    embeddings: Floats, members: Indices, others: Indices, wanted: int, neighbours: int
) -> list[tuple[int, float]]:
    """Pick a cluster's most typical image `wanted` times, each time without those picked before: positions, values.

    others: those of the members among whom neighbours are looked for.
    """
    if wanted == 0:
        return []
    near, open_ = _Neighbours(embeddings, members, others, neighbours), np.ones(len(members), bool)
    picks: list[tuple[int, float]] = []
    for _ in range(wanted):
        best = int(np.where(open_, near.typical, -np.inf).argmax())
        picks.append((best, float(near.typical[best])))
        open_[best] = False
        if len(picks) < wanted:
            near.leave(best)
    return picks

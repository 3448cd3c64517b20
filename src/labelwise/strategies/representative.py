"""Strategies that pick what stands for many others: TypiClust as published, and ProbCover."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array

from labelwise.arrays import Floats, Indices
from labelwise.strategies.geometry import by_chunks, chunks, cluster, nearest_distances, rows, squared_distances
from labelwise.strategies.table import Ask, Picks
from labelwise.threads import one_thread

SMALLEST = 5
"""Images up to which a cluster is too small for TypiClust, where there are larger ones (the authors' code)."""
LARGEST = 5_000
"""Images of a cluster among which neighbours are looked for: of a larger one a random sample."""
GRAPH = 50_000
"""Images that ProbCover's neighbour graph holds: of a larger pool a random sample."""
PURITY_SAMPLE = 2_000
"""Images on which the purity of a radius is measured."""
NEIGHBOURS = 1_000
"""Neighbours an image may have on average in ProbCover's graph; a radius that gives more is made smaller."""


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
    above 5,000 images, neighbours are looked for in a random sample.
    """
    assert ask.embeddings is not None
    embeddings, pool = ask.embeddings, np.sort(np.concatenate([ask.candidates, ask.labelled]))
    count = min(clusters, len(ask.labelled) + ask.n)
    found = ask.once(f"clusters {count}", lambda: cluster(embeddings, pool, count, ask.fixed_rng()))
    members = _members(ask, found.of(ask.candidates), found.of(ask.labelled), len(found.centres))
    picks = []
    with one_thread():
        for turn, (own, wanted) in enumerate(zip(members, _turns(list(map(len, members)), ask.n), strict=True)):
            best, typical = _most_typical(embeddings, ask.candidates[own], wanted, neighbours, ask.rng)
            picks += [(lap, turn, own[i], value) for lap, (i, value) in enumerate(zip(best, typical, strict=True))]
    picks.sort(key=lambda pick: pick[:2])  # in the order in which the clusters take turns
    chosen = np.array([position for _, _, position, _ in picks], np.int64)
    return Picks(ask.candidates[chosen], np.array([value for *_, value in picks]))


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


def _most_typical(
    embeddings: Floats, members: Indices, wanted: int, neighbours: int, rng: np.random.Generator
) -> tuple[list[int], list[float]]:
    """Pick a cluster's most typical image `wanted` times, each time without those picked before: positions, values."""
    best: list[int] = []
    values: list[float] = []
    if wanted == 0:
        return best, values
    others = members if len(members) <= LARGEST else rng.choice(members, LARGEST, replace=False)
    distances = _to_others(embeddings, members, others)
    for _ in range(wanted):
        left = len(others) - len(best)
        typical = _typicality(distances, min(neighbours, max(1, left // 2)))
        typical[best] = -np.inf
        best.append(int(typical.argmax()))
        values.append(float(typical[best[-1]]))
        distances[:, others == members[best[-1]]] = np.inf
    return best, values


def _to_others(embeddings: Floats, members: Indices, others: Indices) -> NDArray[np.float32]:
    """Return (m, o) L2 distances; infinite to itself."""
    near = rows(embeddings, others, unit=True)
    distances = np.empty((len(members), len(others)), np.float32)
    for part in chunks(len(members)):
        np.sqrt(squared_distances(rows(embeddings, members[part], unit=True), near), out=distances[part])
        distances[part][members[part][:, None] == others] = np.inf
    return distances


def _typicality(distances: NDArray[np.float32], neighbours: int) -> NDArray[np.float64]:
    """Return the inverse mean of each row's smallest distances, (m,); 0 where there are not so many."""
    if distances.shape[1] < 2:
        return np.ones(len(distances))
    nearest = np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]
    result: NDArray[np.float64] = 1 / (nearest.mean(axis=1, dtype=np.float64) + 1e-5)
    return result


@dataclass(frozen=True)
class Graph:
    """Who covers whom. nodes: (P,) sorted dataset indices; near: (P, P) sparse, with the diagonal; radius: L2."""

    nodes: Indices
    near: csr_array
    radius: float


def probcover(
    ask: Ask,
    *,
    radius: Annotated[float, Field(gt=0)] | None = None,
    purity: Annotated[float, Field(gt=0, le=1)] = 0.95,
    clusters: Annotated[int, Field(ge=1)] | None = None,
) -> Picks:
    """Pick the image whose ball covers the most images that no label's ball covers yet (ProbCover; Yehuda et al. 2022).

    Balls are L2 on L2-normalised embeddings. The radius is the largest at which 95 % of the balls are pure, that is
    hold images of one k-means cluster alone (as many clusters as classes), measured on 2,000 images; it is made
    smaller where images would have more than 1,000 neighbours on average. A pool above 50,000 images is represented by
    a random sample of so many. What is left to pick when all is covered is picked at random.
    """
    assert ask.embeddings is not None
    pool = np.sort(np.concatenate([ask.candidates, ask.labelled]))
    classes = clusters or (ask.probs.shape[1] if ask.probs is not None else 10)
    graph: Graph = ask.once("graph", lambda: _graph(ask, pool, radius, purity, classes))
    near, count = graph.near, len(graph.nodes)
    if near.nnz == count > SMALLEST:
        warnings.warn(
            f"probcover: no two images lie within the radius {graph.radius:.3g}, so that its picks are random; give "
            "the option radius, or another strategy",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
    positions = np.searchsorted(graph.nodes, ask.candidates)  # candidates are in random order: so fall the ties
    there = (positions < count) & (graph.nodes[np.minimum(positions, count - 1)] == ask.candidates)
    uncovered = np.ones(count, bool)
    uncovered[near[np.flatnonzero(np.isin(graph.nodes, ask.labelled))].indices] = False
    uncovered[_near_others(ask, graph)] = False
    gains = near @ uncovered.astype(np.int64)
    open_ = np.flatnonzero(there)
    chosen, scores = np.zeros(len(ask.candidates), bool), []
    order: list[int] = []
    for _ in range(min(ask.n, len(open_))):
        best = int(open_[np.argmax(np.where(chosen[open_], -1, gains[positions[open_]]))])
        gain = int(gains[positions[best]])
        if gain == 0:
            break
        chosen[best] = True
        order.append(best)
        scores.append(float(gain))
        covered = near.indices[near.indptr[positions[best]] : near.indptr[positions[best] + 1]]
        covered = covered[uncovered[covered]]
        uncovered[covered] = False
        gains -= np.bincount(near[covered].indices, minlength=count)
    rest = np.flatnonzero(~chosen)[: ask.n - len(order)]
    return Picks(ask.candidates[np.array([*order, *rest], np.int64)], np.array([*scores, *[0.0] * len(rest)]))


def _near_others(ask: Ask, graph: Graph) -> NDArray[np.bool_]:
    """Return which nodes lie in the ball of a label that the graph does not hold, (P,)."""
    others = np.setdiff1d(ask.labelled, graph.nodes)
    if not len(others) or ask.embeddings is None:
        return np.zeros(len(graph.nodes), bool)
    return nearest_distances(ask.embeddings, graph.nodes, others, unit=True) < np.float32(graph.radius**2)


def _graph(ask: Ask, pool: Indices, radius: float | None, purity: float, classes: int) -> Graph:
    """Find the radius and every pair of images within it, block by block of the upper triangle."""
    assert ask.embeddings is not None
    rng = ask.fixed_rng()
    nodes = pool if len(pool) <= GRAPH else np.sort(rng.choice(pool, GRAPH, replace=False))
    if radius is None:
        radius = _pure_radius(ask.embeddings, nodes, purity, classes, rng)
    embeddings, squared = ask.embeddings, np.float32(radius**2)

    def pairs(part: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        mine = rows(embeddings, nodes[part], unit=True)
        heads, tails = [], []
        for to in chunks(len(nodes)):
            if to.start < part.start:
                continue  # found from the other side
            close = squared_distances(mine, rows(embeddings, nodes[to], unit=True)) < squared
            one, other = np.nonzero(close)
            one, other = one + part.start, other + to.start
            upper = one < other
            heads.append(one[upper].astype(np.int32))
            tails.append(other[upper].astype(np.int32))
        return np.concatenate(heads), np.concatenate(tails)

    found = by_chunks(pairs, len(nodes))
    heads, tails = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
    own = np.arange(len(nodes), dtype=np.int32)
    both = (np.concatenate([heads, tails, own]), np.concatenate([tails, heads, own]))
    near = csr_array((np.ones(len(both[0]), np.int8), both), shape=(len(nodes), len(nodes)))
    return Graph(nodes, near, float(radius))


def _pure_radius(embeddings: Floats, nodes: Indices, purity: float, classes: int, rng: np.random.Generator) -> float:
    """Return the largest radius at which this share of the balls is pure: a quantile of the distances to another

    cluster's nearest image, since a ball is pure as long as it does not reach it.
    """
    found = cluster(embeddings, nodes, classes, rng)
    sample = np.sort(rng.choice(len(nodes), min(PURITY_SAMPLE, len(nodes)), replace=False))
    mine = rows(embeddings, nodes[sample], unit=True)

    def look(part: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        distances = squared_distances(mine, rows(embeddings, nodes[part], unit=True))
        other = np.where(found.labels[sample][:, None] != found.labels[part], distances, np.inf).min(axis=1)
        keep = min(NEIGHBOURS + 1, distances.shape[1])
        return other, np.partition(distances, keep - 1, axis=1)[:, :keep]

    blocks = by_chunks(look, len(nodes))
    to_other = np.min([other for other, _ in blocks], axis=0)
    close = np.concatenate([near for _, near in blocks], axis=1)
    pure = float(np.sqrt(np.quantile(to_other, 1 - purity, method="lower")))
    allowed = min(NEIGHBOURS, close.shape[1] - 1)
    dense = (
        float(np.sqrt(np.median(np.partition(close, allowed, axis=1)[:, allowed]))) if len(nodes) > NEIGHBOURS else 2.0
    )
    return max(min(pure, dense, 2.0), 1e-6)

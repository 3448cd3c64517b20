"""ProbCover: pick the image whose ball covers the most images that no label's ball covers yet."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array, eye_array, vstack

from labelwise.arrays import Floats, Indices
from labelwise.strategies.geometry import by_chunks, chunks, cluster, nearest_distances, rows, squared_distances
from labelwise.strategies.table import Ask, Picks

GRAPH = 50_000
"""Images that the neighbour graph holds: of a larger pool a random sample."""
SAMPLE = 2_000
"""Images on which the purity of a radius and the number of neighbours within it are measured."""
NEIGHBOURS = 500
"""Neighbours an image may have on average in the graph; a radius that gives more is made smaller."""
FEW = 5
"""Images among which it needs no warning that none is near another."""
BINS = 4_096
"""Bins of squared distances between unit vectors (0 to 4), by which neighbours are counted."""


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
    hold images of one k-means cluster alone (as many clusters as classes), measured on 2,000 images. A radius within
    which images have more than 500 neighbours on average is made smaller; one that was given, with a warning. A pool
    above 50,000 images is represented by a random sample of so many. What is left to pick when all is covered is
    picked at random.
    """
    assert ask.embeddings is not None
    if not (radius or clusters or ask.classes):
        raise ValueError("probcover needs the number of classes to choose its radius: give `classes`, or option radius")
    pool = np.sort(np.concatenate([ask.candidates, ask.labelled]))
    graph: Graph = ask.once("graph", lambda: _graph(ask, pool, radius, purity, clusters or ask.classes))
    near, count = graph.near, len(graph.nodes)
    if near.nnz == count > FEW:
        warnings.warn(
            f"probcover: no two images lie within the radius {graph.radius:.3g}, so that its picks are random; give "
            "the option radius, or another strategy",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
    positions = np.searchsorted(graph.nodes, ask.candidates)  # candidates are in random order: so fall the ties
    there = (positions < count) & (graph.nodes[np.minimum(positions, count - 1)] == ask.candidates)
    open_ = np.flatnonzero(there)
    order, scores = _cover(near, _uncovered(ask, graph), positions[open_], ask.n)
    chosen = open_[order]
    rest = np.setdiff1d(np.arange(len(ask.candidates)), chosen)[: ask.n - len(chosen)]
    return Picks(ask.candidates[np.concatenate([chosen, rest])], np.concatenate([scores, np.zeros(len(rest))]))


def _cover(
    near: csr_array, uncovered: NDArray[np.bool_], nodes: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pick greedily among `nodes` until all is covered: positions into `nodes`, and how much each covered."""
    gains = np.add.reduceat(uncovered[near.indices], near.indptr[:-1], dtype=np.int64)
    order: list[int] = []
    scores: list[float] = []
    while len(order) < min(n, len(nodes)):
        best = int(gains[nodes].argmax())  # whoever was picked has nothing left to cover
        if (gain := int(gains[nodes[best]])) == 0:
            break
        order.append(best)
        scores.append(float(gain))
        covered = near.indices[near.indptr[nodes[best]] : near.indptr[nodes[best] + 1]]
        covered = covered[uncovered[covered]]
        uncovered[covered] = False
        gains -= np.bincount(near[covered].indices, minlength=len(gains))
    return np.array(order, np.int64), np.array(scores)


def _uncovered(ask: Ask, graph: Graph) -> NDArray[np.bool_]:
    """Return which nodes lie in no label's ball, (P,), labels that the graph does not hold included."""
    assert ask.embeddings is not None
    uncovered = np.ones(len(graph.nodes), bool)
    uncovered[graph.near[np.flatnonzero(np.isin(graph.nodes, ask.labelled))].indices] = False
    others = np.setdiff1d(ask.labelled, graph.nodes)
    if len(others):
        distances = nearest_distances(ask.embeddings, graph.nodes, others, unit=True)
        uncovered[distances < np.float32(graph.radius**2)] = False
    return uncovered


def _graph(ask: Ask, pool: Indices, radius: float | None, purity: float, classes: int) -> Graph:
    """Choose or check the radius, and find every pair of images within it, block by block of the upper triangle."""
    assert ask.embeddings is not None
    rng = ask.fixed_rng()
    nodes = pool if len(pool) <= GRAPH else np.sort(rng.choice(pool, GRAPH, replace=False))
    pure, dense = radii(ask.embeddings, nodes, purity, classes if radius is None else 1, rng)
    if radius is not None and radius > dense:
        warnings.warn(
            f"probcover: within the radius {radius:.3g} an image has more than {NEIGHBOURS} neighbours on average; "
            f"{dense:.3g} is taken instead",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
    chosen = min(radius or pure, dense)
    embeddings, squared = ask.embeddings, np.float32(chosen**2)

    def upper(part: slice) -> csr_array:
        mine = rows(embeddings, nodes[part], unit=True)
        blocks = []
        for to in chunks(len(nodes)):
            if to.start < part.start:
                continue  # found from the other side
            one, other = np.nonzero(squared_distances(mine, rows(embeddings, nodes[to], unit=True)) < squared)
            above = one + part.start < other + to.start
            blocks.append((one[above].astype(np.int32), (other[above] + to.start).astype(np.int32)))
        heads, tails = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
        return csr_array((np.ones(len(heads), np.int8), (heads, tails)), shape=(len(mine), len(nodes)))

    above = vstack(by_chunks(upper, len(nodes)), format="csr")
    return Graph(nodes, csr_array(above + above.T + eye_array(len(nodes), dtype=np.int8)), chosen)


def radii(
    embeddings: Floats, nodes: Indices, purity: float, classes: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the largest pure radius, and the largest that keeps to NEIGHBOURS on average.

    A ball is pure as long as it does not reach the nearest image of another cluster, so that the first is a quantile
    of the distances to it; with one cluster every radius is pure.
    """
    found = cluster(embeddings, nodes, classes, rng)
    sample = np.sort(rng.choice(len(nodes), min(SAMPLE, len(nodes)), replace=False))
    mine = rows(embeddings, nodes[sample], unit=True)

    def look(part: slice) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        distances = squared_distances(mine, rows(embeddings, nodes[part], unit=True))
        bins = np.minimum(distances * (BINS / 4), BINS - 1).astype(np.int32)
        counts = np.bincount(bins.ravel(), minlength=BINS)
        distances[found.labels[sample][:, None] == found.labels[part]] = np.inf
        return distances.min(axis=1), counts

    blocks = by_chunks(look, len(nodes))
    to_other = np.min([other for other, _ in blocks], axis=0)
    within = np.cumsum(np.sum([counts for _, counts in blocks], axis=0)) / len(sample) - 1  # not itself
    full = int(np.searchsorted(within, NEIGHBOURS, side="right"))  # the bin that goes above
    dense = 2.0 if full == BINS else float(np.sqrt(4 * full / BINS))
    pure = float(np.sqrt(np.quantile(to_other, 1 - purity, method="lower")))
    return max(min(pure, 2.0), 1e-6), max(dense, 1e-6)

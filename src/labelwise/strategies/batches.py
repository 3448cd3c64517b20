"""Strategies that keep a batch of small margins from being n times the same image."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.cluster.hierarchy import fcluster, linkage

from labelwise.arrays import Floats, Indices
from labelwise.strategies.geometry import Clusters, nearest, rows, squared_distances
from labelwise.strategies.probability import margins
from labelwise.strategies.table import Ask, Picks, top
from labelwise.threads import one_thread

TREE = 5_000
"""Images that the hierarchical clustering looks at: of a larger pool a random sample; the others follow the nearest
cluster's mean."""
CLUSTER_SIZE = 10
"""Mean size of a cluster (Citovsky et al. 2021, section 4)."""


def power_margin(ask: Ask, *, power: Annotated[float, Field(gt=0)] = 1.0) -> Picks:
    """Pick at random, with probabilities that grow as a power of 1 - margin (Kirsch et al. 2021, "power" acquisition).

    The n are drawn without replacement by the Gumbel-top-k trick: log score times `power`, plus Gumbel noise.
    """
    scores = power * np.log(np.maximum(1 - margins(ask), 1e-12))
    return top(ask, scores + ask.rng.gumbel(size=len(scores)))


def stratified_margin(ask: Ask) -> Picks:
    """Pick the smallest margins of each predicted class, equally many a class: a stratified sample without labels.

    A class with fewer candidates gives all it has, and the others share the rest; the answer to the reproduced study's
    question whether stratified sampling and active learning can be combined.
    """
    assert ask.probs is not None
    margin = margins(ask)
    predicted = ask.probs[ask.candidates].argmax(axis=1)
    order = np.argsort(margin, kind="stable")
    within = np.empty(len(order), np.int64)  # an image's place among the candidates of its predicted class
    for k in np.unique(predicted):
        own = order[predicted[order] == k]
        within[own] = np.arange(len(own))
    chosen = np.lexsort((margin, within))[: ask.n]
    return Picks(ask.candidates[chosen], -margin[chosen])


def cluster_margin(ask: Ask, *, considered: Annotated[float, Field(ge=1)] = 10.0) -> Picks:
    """Pick among the 10 n smallest margins in turn from their clusters, the smallest clusters first (Cluster-Margin).

    Citovsky et al. 2021, algorithms 1 and 2: average-linkage clustering of the L2-normalised embeddings, once, into
    clusters of 10 images on average. The clustering is hierarchical on 5,000 images at most, a random sample of a
    larger pool, whose other images follow the nearest cluster's mean.
    """
    assert ask.embeddings is not None
    embeddings, pool = ask.embeddings, np.sort(np.concatenate([ask.candidates, ask.labelled]))
    found: Clusters = ask.once("tree", lambda: _tree(embeddings, pool, ask.fixed_rng()))
    margin = margins(ask)
    small = np.argsort(margin, kind="stable")[: min(len(margin), round(considered * ask.n))]
    of = found.of(ask.candidates[small])
    counts = np.bincount(of)
    place = np.empty(len(small), np.int64)
    shuffled = ask.rng.permutation(len(small))  # within a cluster, any of its small margins
    by_cluster = shuffled[np.argsort(of[shuffled], kind="stable")]
    starts = np.cumsum(np.concatenate([[0], counts[np.flatnonzero(counts)][:-1]]))
    place[by_cluster] = np.arange(len(small)) - np.repeat(starts, counts[np.flatnonzero(counts)])
    turn = np.lexsort((of, counts[of], place))[: ask.n]
    return Picks(ask.candidates[small[turn]], -margin[small[turn]])


def _tree(embeddings: Floats, pool: Indices, rng: np.random.Generator) -> Clusters:
    """Cluster by average linkage into as many clusters as give ten images each."""
    sample = pool if len(pool) <= TREE else np.sort(rng.choice(pool, TREE, replace=False))
    if len(sample) < 2:
        return Clusters(pool, np.zeros(len(pool), np.int64), rows(embeddings, sample, unit=True))
    taken = rows(embeddings, sample, unit=True)
    with one_thread():
        upper = np.sqrt(squared_distances(taken, taken))[np.triu_indices(len(taken), 1)]
        tree = linkage(upper, method="average")
    labels: NDArray[np.int64] = fcluster(tree, max(1, len(sample) // CLUSTER_SIZE), "maxclust").astype(np.int64) - 1
    sums = np.zeros((labels.max() + 1, taken.shape[1]), np.float32)
    np.add.at(sums, labels, taken)
    centres = sums / np.bincount(labels)[:, None]
    if len(sample) < len(pool):
        labels = nearest(embeddings, pool, centres.astype(np.float32))
    return Clusters(pool, labels, centres.astype(np.float32))

"""Distances and clusters of embeddings in bounded memory: chunk by chunk, the same bits on any number of cores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from labelwise.arrays import Floats, Indices
from labelwise.threads import cores, one_thread

T = TypeVar("T")
CHUNK = 2_048
"""Rows of a block of distances: against 10,000 others, 80 MB a thread."""
KEPT = 20_000
"""Rows that are held as float32 at once: 100 MB of 1,280 features."""
FITTED_ON, A_CLUSTER = 10_000, 20
"""Images that k-means looks at: 10,000, or 20 a cluster if these are more. Of a larger pool it takes a random sample,
and every image goes to the nearest centre."""
PASSES = 10
"""Passes of mini-batch k-means over what it looks at."""
MANY_CLUSTERS = 50
"""Clusters above which k-means runs on mini-batches, as in TypiClust's own code."""


def rows(embeddings: Floats, indices: Indices, unit: bool = False) -> NDArray[np.float32]:
    """Return the embeddings at `indices` as float32 (n, D), L2-normalised if `unit`."""
    taken = np.asarray(embeddings[indices], np.float32)
    if unit:
        taken /= np.maximum(np.linalg.norm(taken, axis=1, keepdims=True), 1e-12)
    return taken


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Cut 0..count into slices of `size`: fixed, so that what is computed does not depend on the cores."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def by_chunks(work: Callable[[slice], T], count: int, size: int = CHUNK) -> list[T]:
    """Do `work` on every chunk, a chunk a core at a time, each in one thread of BLAS; return the results in order."""
    with one_thread():
        if cores() == 1:  # no other thread, for which the end of the process would wait
            return [work(part) for part in chunks(count, size)]
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(work, chunks(count, size)))


def squared_distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, m) squared L2 distances of (n, D) and (m, D), never below 0."""
    result = one @ other.T
    result *= -2
    result += np.einsum("ij,ij->i", one, one)[:, None]
    result += np.einsum("ij,ij->i", other, other)
    np.maximum(result, 0, out=result)
    return result


@dataclass(frozen=True)
class Clusters:
    """k-means of a pool. pool: (P,) sorted dataset indices; labels: (P,) cluster of each; centres: (C, D)."""

    pool: Indices
    labels: NDArray[np.int64]
    centres: NDArray[np.float32]

    def of(self, indices: Indices) -> NDArray[np.int64]:
        """Return the clusters of some of the pool's images."""
        return self.labels[np.searchsorted(self.pool, indices)]


def cluster(embeddings: Floats, pool: Indices, count: int, rng: np.random.Generator) -> Clusters:
    """Cluster the pool's L2-normalised embeddings by k-means (one start), mini-batches above 50 clusters.

    Of a pool above 10,000 images (or 20 a cluster) a random sample is clustered, and every image goes to the nearest
    centre.
    """
    enough = max(FITTED_ON, A_CLUSTER * count)
    fitted = pool if len(pool) <= enough else np.sort(rng.choice(pool, enough, replace=False))
    count = min(count, len(fitted))
    state = int(rng.integers(2**31 - 1))
    taken = rows(embeddings, fitted, unit=True)
    if count > MANY_CLUSTERS:
        model = MiniBatchKMeans(
            count, init=_first_centres(taken, count, state), n_init=1, batch_size=5_000, max_iter=PASSES,
            random_state=state,
        )  # fmt: skip
    else:  # elkan: the same result as lloyd in half the time; for one cluster it warns
        algorithm = "elkan" if count > 1 else "lloyd"
        model = KMeans(count, n_init=1, max_iter=100, algorithm=algorithm, random_state=state)
    # one thread: with several, scikit-learn adds up centres in the order in which they finish
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        labels = model.fit_predict(taken)
    centres = model.cluster_centers_.astype(np.float32)
    if len(fitted) < len(pool):
        labels = nearest(embeddings, pool, centres)
    return Clusters(pool, labels.astype(np.int64), centres)


def _first_centres(taken: NDArray[np.float32], count: int, state: int) -> NDArray[np.float32]:
    """Draw centres (count, D) by k-means++ from three images a centre.

    float64, since scikit-learn would convert float32 again for every centre, which takes most of the time.
    """
    some = taken[np.sort(np.random.default_rng(state).choice(len(taken), min(len(taken), 3 * count), replace=False))]
    with one_thread():
        centres: NDArray[np.float32] = kmeans_plusplus(some.astype(np.float64), count, random_state=state)[0].astype(
            np.float32
        )
    return centres


def nearest(embeddings: Floats, indices: Indices, centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the nearest centre (C, D) of each L2-normalised embedding, (n,)."""

    def assign(part: slice) -> NDArray[np.int64]:
        closest: NDArray[np.int64] = squared_distances(rows(embeddings, indices[part], unit=True), centres).argmin(
            axis=1
        )
        return closest

    return np.concatenate(by_chunks(assign, len(indices)))


def nearest_distances(embeddings: Floats, indices: Indices, others: Indices, unit: bool = False) -> NDArray[np.float32]:
    """Return each image's squared L2 distance to the nearest of `others`, (n,); infinite where there is none."""
    if not len(others):
        return np.full(len(indices), np.inf, np.float32)

    # converted once where that is little memory
    kept = [rows(embeddings, others[to], unit) for to in chunks(len(others))] if len(others) <= KEPT else None

    def closest(part: slice) -> NDArray[np.float32]:
        mine = rows(embeddings, indices[part], unit)
        theirs = kept or (rows(embeddings, others[to], unit) for to in chunks(len(others)))
        blocks = (squared_distances(mine, block).min(axis=1) for block in theirs)
        best: NDArray[np.float32] = next(blocks)
        for block in blocks:
            np.minimum(best, block, out=best)
        return best

    return np.concatenate(by_chunks(closest, len(indices)))

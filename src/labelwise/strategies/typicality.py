"""Strategies that look at where an image lies among the others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from labelwise.arrays import Floats
from labelwise.strategies.probability import predictive_entropy
from labelwise.strategies.table import Ask, Picks, top
from labelwise.threads import one_thread


def entropy_typicality(
    ask: Ask,
    *,
    clusters: Annotated[int, Field(ge=1)] | None = None,
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5,
    normalisation: Literal["rank", "minmax"] = "rank",
) -> Picks:
    """Pick uncertain and atypical images first: TypiClust as the reproduced study defines it, not as published.

    The score is `weight` x entropy + (1 - weight) x distance to the image's own k-means centre, both turned into
    ranks over the candidates, since their raw scales cannot be compared. k-means runs on the L2-normalised embeddings
    of the pool (candidates and labelled), with as many clusters as classes by default. Hacohen et al. 2022, whose
    name the study borrows, prefer *typical* images.
    """
    assert ask.probs is not None
    assert ask.embeddings is not None
    count = clusters or ask.probs.shape[1]
    pool = np.sort(np.concatenate([ask.candidates, ask.labelled]))
    distances: Distances = ask.once("distances", lambda: _distances(ask, pool, count))
    atypical = distances.of(ask)
    scale = _ranks if normalisation == "rank" else _minmax
    uncertain = predictive_entropy(ask.probs[ask.candidates].astype(np.float64))
    return top(ask, weight * scale(uncertain) + (1 - weight) * scale(atypical))


@dataclass(frozen=True)
class Distances:
    """Distance of each pool image to its cluster's centre. pool: (P,) sorted dataset indices; values: (P,)."""

    pool: NDArray[np.int64]
    values: Floats

    def of(self, ask: Ask) -> Floats:
        """Return the candidates' distances, (M,)."""
        return self.values[np.searchsorted(self.pool, ask.candidates)]


def _distances(ask: Ask, pool: NDArray[np.int64], clusters: int) -> Distances:
    """Cluster the pool's L2-normalised embeddings by k-means (k-means++, one start, by the seed)."""
    assert ask.embeddings is not None
    rows = ask.embeddings[pool].astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    count = min(clusters, len(pool))
    model = KMeans(
        count,
        n_init=1,
        max_iter=100,
        algorithm="elkan" if count > 1 else "lloyd",  # the same result, in half the time; for one cluster it warns
        random_state=int(ask.fixed_rng().integers(2**31 - 1)),
    )
    # one thread: with several, scikit-learn adds up centres in the order in which they finish
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        labels = model.fit_predict(rows)
    rows -= model.cluster_centers_[labels]
    return Distances(pool, np.linalg.norm(rows, axis=1))


def _ranks(values: Floats) -> Floats:
    """Turn values into ranks in (0, 1], equal values sharing the mean of theirs."""
    result: Floats = rankdata(values) / len(values)
    return result


def _minmax(values: Floats) -> Floats:
    low, high = values.min(), values.max()
    result: Floats = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return result

"""Strategies that look at where an image lies among the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import rankdata

from labelwise.arrays import Floats
from labelwise.strategies.geometry import chunks, cluster, rows
from labelwise.strategies.probability import predictive_entropy
from labelwise.strategies.table import Ask, Picks, top


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
    embeddings = ask.embeddings
    found = cluster(embeddings, pool, clusters, ask.fixed_rng())

    def distances(part: slice) -> Floats:
        offsets = rows(embeddings, pool[part], unit=True) - found.centres[found.labels[part]]
        result: Floats = np.linalg.norm(offsets, axis=1)
        return result

    return Distances(pool, np.concatenate([distances(part) for part in chunks(len(pool))]))


def _ranks(values: Floats) -> Floats:
    """Turn values into ranks in (0, 1], equal values sharing the mean of theirs."""
    result: Floats = rankdata(values) / len(values)
    return result


def _minmax(values: Floats) -> Floats:
    low, high = values.min(), values.max()
    result: Floats = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return result

"""Strategies that look at where an image lies among the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import rankdata
from sklearn.metrics import silhouette_score

from labelwise.arrays import Floats
from labelwise.strategies.geometry import chunks, cluster, rows
from labelwise.strategies.probability import predictive_entropy
from labelwise.strategies.table import Ask, Picks, top
from labelwise.threads import one_thread

Count = Literal["classes", "batch", "labels+batch", "sqrt", "adaptive"]
FACTORS = (0.5, 1, 2, 4, 8)
"""Times the number of classes: the numbers of clusters that `adaptive` tries."""
SILHOUETTE = 2_000
"""Images on which `adaptive` measures the silhouette."""


def entropy_typicality(
    ask: Ask,
    *,
    clusters: Annotated[int, Field(ge=1)] | Count = "classes",
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5,
    normalisation: Literal["rank", "minmax"] = "rank",
) -> Picks:
    """Pick uncertain and atypical images first: TypiClust as the reproduced study defines it, not as published.

    The score is `weight` x entropy + (1 - weight) x distance to the image's own k-means centre, both turned into
    ranks over the candidates, since their raw scales cannot be compared. k-means runs on the L2-normalised embeddings
    of the pool (candidates and labelled), with as many clusters as classes by default; `batch` takes as many as the
    batch has images, `labels+batch` as there will be labels, `sqrt` the root of the pool's size, and `adaptive` the
    number with the highest silhouette. Hacohen et al. 2022, whose name the study borrows, prefer *typical* images.
    """
    assert ask.probs is not None
    assert ask.embeddings is not None
    pool = np.sort(np.concatenate([ask.candidates, ask.labelled]))
    count = clusters if isinstance(clusters, int) else _count(ask, pool, clusters)
    distances: Distances = ask.once(f"distances {count}", lambda: _distances(ask, pool, count))
    atypical = distances.of(ask)
    scale = _ranks if normalisation == "rank" else _minmax
    uncertain = predictive_entropy(ask.probs[ask.candidates].astype(np.float64))
    return top(ask, weight * scale(uncertain) + (1 - weight) * scale(atypical))


def _count(ask: Ask, pool: NDArray[np.int64], rule: Count) -> int:
    """Return the number of clusters by a rule's name."""
    if rule == "adaptive":
        found: int = ask.once("adaptive", lambda: _by_silhouette(ask, pool))
        return found
    counts = {
        "classes": ask.classes, "batch": ask.n, "labels+batch": len(ask.labelled) + ask.n,
        "sqrt": round(float(len(pool)) ** 0.5),
    }  # fmt: skip
    return max(1, int(counts[rule]))


def _by_silhouette(ask: Ask, pool: NDArray[np.int64]) -> int:
    """Return the number of clusters, of a few, with the highest mean silhouette of 2,000 images (Rousseeuw 1987)."""
    assert ask.embeddings is not None
    rng = ask.fixed_rng()
    sample = np.sort(rng.choice(len(pool), min(SILHOUETTE, len(pool)), replace=False))
    taken = rows(ask.embeddings, pool[sample], unit=True)
    scores: dict[int, float] = {}
    for factor in FACTORS:
        count = round(ask.classes * factor)
        labels = cluster(ask.embeddings, pool, count, ask.fixed_rng()).labels[sample] if count < len(sample) else sample
        if 1 < len(np.unique(labels)) < len(sample):
            with one_thread():
                scores[count] = float(silhouette_score(taken, labels))
    return max(scores, key=lambda count: scores[count]) if scores else 1


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

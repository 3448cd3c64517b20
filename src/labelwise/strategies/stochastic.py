"""Strategies that look at several passes of the model with dropout."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import entr
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from labelwise.arrays import Floats
from labelwise.strategies.geometry import rows
from labelwise.strategies.table import Ask, Picks, top
from labelwise.threads import one_thread

CLUSTERED = 10_000
"""Candidates that DropQuery clusters: of more, those on which the passes disagree most."""


def bald(ask: Ask) -> Picks:
    """Pick the highest mutual information between prediction and weights: what the passes disagree on (BALD).

    Houlsby et al. 2011; by Monte Carlo dropout as Gal et al. 2017: entropy of the mean prediction minus the mean
    entropy of the passes, in nats.
    """
    passes = _passes(ask)
    mean = np.mean(passes, axis=0, dtype=np.float64)
    expected = np.mean([entr(one.astype(np.float64)).sum(axis=1) for one in passes], axis=0)
    return top(ask, entr(mean).sum(axis=1) - expected)


def dropquery(ask: Ask) -> Picks:
    """Pick from images whose prediction changes under dropout, one near each of n cluster centres (DropQuery).

    Gupte et al. 2024: candidates on which more than half of the passes predict another class than the model does are
    clustered by k-means into n clusters, and the one nearest to each centre is picked. Where they are fewer than n, the
    next most inconsistent ones fill up. At most 10,000 are clustered, the most inconsistent ones.
    """
    assert ask.probs is not None
    assert ask.embeddings is not None
    passes = _passes(ask)
    predicted = ask.probs[ask.candidates].argmax(axis=1)
    changed = (passes.argmax(axis=2) != predicted).mean(axis=0)
    order = np.argsort(-changed, kind="stable")
    inconsistent = order[: max(ask.n, min(CLUSTERED, int((changed > 0.5).sum())))]
    if len(inconsistent) <= ask.n:
        return Picks(ask.candidates[inconsistent[: ask.n]], changed[inconsistent[: ask.n]])
    taken = rows(ask.embeddings, ask.candidates[inconsistent])
    model = KMeans(ask.n, init="random", n_init=1, max_iter=10, algorithm="lloyd",
                   random_state=int(ask.rng.integers(2**31 - 1)))  # fmt: skip
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        labels = model.fit_predict(taken)
    offsets = taken - model.cluster_centers_[labels]
    distances = np.einsum("ij,ij->i", offsets, offsets)
    first = np.lexsort((distances, labels))
    _, starts = np.unique(labels[first], return_index=True)
    nearest = first[starts]
    rest = np.setdiff1d(np.arange(len(taken)), nearest)[: ask.n - len(nearest)]  # empty clusters leave places
    chosen = inconsistent[np.concatenate([nearest, rest])]
    return Picks(ask.candidates[chosen], changed[chosen])


def _passes(ask: Ask) -> Floats:
    assert ask.stochastic_probs is not None
    return ask.stochastic_probs[:, ask.candidates]

"""Strategies that spread the batch over the embeddings: CoreSet, and BADGE on the gradients of the last layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices
from labelwise.strategies.geometry import by_chunks, nearest_distances, rows, squared_distances
from labelwise.strategies.table import Ask, Picks
from labelwise.threads import one_thread

ACTIVE = 2_048
"""Candidates that CoreSet keeps exact distances of: the farthest ones, until one of the others could be farther."""
EVERY = 64
"""Picks after which BADGE brings every candidate's distance up to date."""


def coreset(ask: Ask) -> Picks:
    """Pick the candidate farthest from all that is labelled or picked, again and again (k-center greedy).

    Sener & Savarese 2018, algorithm 1, L2 on the embeddings as they are. A distance that misses the latest picks is
    an upper bound, so that only the farthest candidates are followed, until they are nearer than some other's bound:
    the picks are those of the plain algorithm.
    """
    assert ask.embeddings is not None
    bounds = nearest_distances(ask.embeddings, ask.candidates, ask.labelled).astype(np.float64)
    chosen, scores = np.empty(ask.n, np.int64), np.empty(ask.n)
    known, active, outside = 0, np.zeros(1, np.int64), -np.inf  # with no label, the first candidate: any of them
    if len(ask.labelled):
        active, outside = _farthest(bounds)
    taken = rows(ask.embeddings, ask.candidates[active])
    lengths = np.einsum("ij,ij->i", taken, taken)
    with one_thread():
        for number in range(ask.n):
            best = int(active[bounds[active].argmax()])
            if number and (bounds[best] < outside or not np.isfinite(bounds).all()):
                _bring_up_to_date(ask, bounds, chosen[known:number])
                bounds[chosen[:number]] = -1.0
                known = number
                active, outside = _farthest(bounds)
                taken = rows(ask.embeddings, ask.candidates[active])
                lengths = np.einsum("ij,ij->i", taken, taken)
                best = int(active[bounds[active].argmax()])
            chosen[number], scores[number] = best, bounds[best]
            picked = rows(ask.embeddings, ask.candidates[[best]])[0]
            distances = lengths + picked @ picked - 2 * (taken @ picked)
            bounds[active] = np.minimum(bounds[active], np.maximum(distances, 0))
            bounds[best] = -1.0
    return Picks(ask.candidates[chosen], np.sqrt(np.where(np.isfinite(scores), np.maximum(scores, 0), 0.0)))


def _farthest(bounds: Floats) -> tuple[NDArray[np.int64], float]:
    """Return the positions of the farthest candidates, in order of position, and the highest bound of all others."""
    if len(bounds) <= ACTIVE:
        return np.arange(len(bounds)), -np.inf
    order = np.argpartition(-bounds, ACTIVE)
    return np.sort(order[:ACTIVE]), float(bounds[order[ACTIVE]])


def _bring_up_to_date(ask: Ask, bounds: Floats, chosen: NDArray[np.int64]) -> None:
    """Take these picks into every candidate's bound."""
    embeddings = ask.embeddings
    assert embeddings is not None
    new = rows(embeddings, ask.candidates[chosen])

    def closest(part: slice) -> NDArray[np.float32]:
        distances: NDArray[np.float32] = squared_distances(rows(embeddings, ask.candidates[part]), new).min(axis=1)
        return distances

    np.minimum(bounds, np.concatenate(by_chunks(closest, len(bounds))), out=bounds)


@dataclass
class _Gradients:
    """Gradients of the last layer in factors: g_i = a_i (x) h_i, a_i = p_i - one-hot(argmax p_i), h_i the embedding."""

    embeddings: Floats
    candidates: Indices
    errors: NDArray[np.float32]  # (M, K)
    norms: NDArray[np.float64] = field(init=False)  # (M,), squared

    def __post_init__(self) -> None:
        def squared(part: slice) -> NDArray[np.float64]:
            taken = rows(self.embeddings, self.candidates[part])
            result: NDArray[np.float64] = np.einsum("ij,ij->i", taken, taken).astype(np.float64)
            return result

        lengths = np.concatenate(by_chunks(squared, len(self.candidates)))
        self.norms = lengths * np.einsum("ij,ij->i", self.errors, self.errors)

    def distances(self, part: NDArray[np.int64] | slice, to: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return squared distances (n, m) of the gradients at positions `part` and `to`, in O(D + K) each."""
        products = rows(self.embeddings, self.candidates[part]) @ rows(self.embeddings, self.candidates[to]).T
        products *= self.errors[part] @ self.errors[to].T
        return np.maximum(self.norms[part][:, None] + self.norms[to] - 2.0 * products, 0.0)


def badge(ask: Ask) -> Picks:
    """Pick by k-means++ on the gradients of the last layer: uncertain images that differ (BADGE; Ash et al. 2020).

    The first is the one with the longest gradient, as in the authors' code; each other one is drawn with a
    probability proportional to its squared distance to the nearest pick. The draw is exact: an image is proposed by
    an upper bound of its distance, and taken with the share that the true one has of it.
    """
    assert ask.probs is not None
    assert ask.embeddings is not None
    errors = ask.probs[ask.candidates].astype(np.float32)
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    gradients = _Gradients(ask.embeddings, ask.candidates, errors)
    chosen = np.empty(ask.n, np.int64)
    scores = np.empty(ask.n)
    bounds = np.full(len(errors), np.inf)
    seen = np.zeros(len(errors), np.int64)
    for number in range(ask.n):
        if number == 0:
            best, score = int(gradients.norms.argmax()), float(gradients.norms.max())
        else:
            if number == 1 or number % EVERY == 0:
                _refresh(gradients, bounds, seen, chosen[:number])
            best, score = _draw(ask, gradients, bounds, seen, chosen[:number])
        chosen[number], scores[number] = best, score
        bounds[best], seen[best] = 0.0, ask.n
    return Picks(ask.candidates[chosen], np.sqrt(scores))


def _refresh(gradients: _Gradients, bounds: Floats, seen: NDArray[np.int64], chosen: NDArray[np.int64]) -> None:
    since = int(seen.min())

    def closest(part: slice) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.minimum(bounds[part], gradients.distances(part, chosen[since:]).min(axis=1))
        return result

    bounds[:] = np.concatenate(by_chunks(closest, len(bounds)))
    bounds[chosen] = 0.0  # rounding leaves a little
    seen[:] = np.maximum(seen, len(chosen))


def _draw(
    ask: Ask, gradients: _Gradients, bounds: Floats, seen: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[int, float]:
    """Draw one position by its squared distance to the nearest pick; any that is left where all of them are 0."""
    with one_thread():
        while (total := bounds.sum()) > 0:
            cumulated = np.cumsum(bounds)
            best = int(np.searchsorted(cumulated, ask.rng.random() * cumulated[-1], side="right"))
            best = min(best, len(bounds) - 1)
            if seen[best] < len(chosen):
                new = gradients.distances(np.array([best]), chosen[seen[best] :]).min()
                bound, bounds[best] = bounds[best], min(bounds[best], float(new))
                seen[best] = len(chosen)
                if ask.rng.random() * bound >= bounds[best]:
                    continue
            if bounds[best] > 0:
                return best, float(bounds[best])
        assert total == 0
    left = np.setdiff1d(np.arange(len(bounds)), chosen)  # candidates are in random order: the first is any
    return int(left[0]), 0.0

"""Strategies that look at each image's class probabilities alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from labelwise.arrays import Floats
from labelwise.strategies.table import Ask, Picks, top


def random(ask: Ask) -> Picks:
    """Pick uniformly at random: the control of every comparison."""
    return top(ask, ask.rng.random(len(ask.candidates)))


def uncertainty(ask: Ask) -> Picks:
    """Pick the lowest top-class probability first (least confidence; Lewis & Gale 1994)."""
    return top(ask, 1 - _probs(ask).max(axis=1))


def margin(ask: Ask) -> Picks:
    """Pick the smallest difference between the two highest probabilities first (Scheffer et al. 2001)."""
    return top(ask, -margins(ask))


def entropy(ask: Ask) -> Picks:
    """Pick the highest predictive entropy, in nats, first (Shannon 1948; Settles 2009, section 3.1)."""
    return top(ask, predictive_entropy(_probs(ask)))


def margins(ask: Ask) -> NDArray[np.float64]:
    """Return the difference of each candidate's two highest probabilities, (M,)."""
    highest = np.partition(_probs(ask), -2, axis=1)[:, -2:]
    result: NDArray[np.float64] = highest[:, 1] - highest[:, 0]
    return result


def predictive_entropy(probs: Floats) -> Floats:
    """Return the entropy of each row of (M, K) probabilities in nats, (M,)."""
    result: Floats = entr(probs).sum(axis=1)
    return result


def _probs(ask: Ask) -> Floats:
    assert ask.probs is not None
    result: Floats = ask.probs[ask.candidates].astype(np.float64)
    return result

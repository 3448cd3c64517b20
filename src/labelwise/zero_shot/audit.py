"""How right a zero-shot model is, and how well its confidence says so: counts for the records."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelwise.arrays import Labels
from labelwise.zero_shot import Guesses

BINS = 10
"""Bins of confidence, equally wide."""


def audit(guesses: Guesses, truth: Labels) -> dict[str, Any]:
    """Return images, correct, and bins: [predicted class, bin, images, sum of confidences, correct], none empty.

    truth: (N,) classes by dataset index.
    """
    right = guesses.labels == truth[guesses.indices]
    cell = guesses.labels * BINS + np.minimum((guesses.confidence * BINS).astype(np.int64), BINS - 1)
    count, sums, correct = (np.bincount(cell, weights=w) for w in (None, guesses.confidence, right))
    bins = [
        [int(i) // BINS, int(i) % BINS, int(count[i]), round(float(sums[i]), 6), int(correct[i])]
        for i in np.flatnonzero(count)
    ]
    return {"images": len(right), "correct": int(right.sum()), "bins": bins}

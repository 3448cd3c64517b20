"""Which images a zero-shot model's labels start with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats


def most_confident(probs: Floats, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (size,) positions of the highest confidence, equally many a predicted class; size is at most n.

    probs: (n, K). First every class's most confident image, then every class's second, and so on: where a class has
    too few, the others fill up, and what is left over of a round goes to the most confident. Ties fall by `rng`.
    """
    predicted, confidence = probs.argmax(axis=1), probs.max(axis=1)
    lot = rng.permutation(len(probs))
    order = np.lexsort((lot, -confidence, predicted))
    starts = np.searchsorted(predicted[order], np.arange(probs.shape[1]))
    rank = np.empty(len(probs), np.int64)
    rank[order] = np.arange(len(probs)) - starts[predicted[order]]
    return np.asarray(np.lexsort((lot, -confidence, rank))[:size], dtype=np.int64)

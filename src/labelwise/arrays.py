"""Shapes and the few arrays that travel between layers.

Glossary: N images of a data set (pool and test), K classes, D features, L labelled images, n the batch asked for.
A *dataset index* is a row number 0..N-1 of the whole data set; it is the only kind of index that leaves a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
"""(n,) int64, dataset indices."""
Labels = NDArray[np.int64]
"""(n,) int64, classes 0..K-1."""
Floats = NDArray[np.floating[Any]]

PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True)
class Predictions:
    """What a fitted learner says of some images.

    indices: (n,) dataset indices; probs: (n, K) float32, rows sum to 1, none below about 1e-6; where they were asked
    for, embeddings: (N, D) of the model itself, filled at `indices`, and stochastic: (T, n, K) probabilities of
    passes with dropout; seconds and images_forward: what all this cost.
    """

    indices: Indices
    probs: NDArray[np.float32]
    embeddings: Floats | None = None
    stochastic: Floats | None = None
    seconds: float = 0.0
    images_forward: int = 0


def softmax(logits: Floats) -> NDArray[np.float32]:
    """Turn (n, K) logits into floored probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    return floored(shifted / shifted.sum(axis=1, keepdims=True))


def floored(probs: Floats) -> NDArray[np.float32]:
    """Clip (n, K) probabilities at 1e-6 and let the rows sum to 1 again, so that a log loss stays finite."""
    clipped = np.maximum(np.asarray(probs, dtype=np.float32), np.float32(PROBABILITY_FLOOR))
    result: NDArray[np.float32] = clipped / clipped.sum(axis=1, keepdims=True, dtype=np.float32)
    return result

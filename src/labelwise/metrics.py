"""Test-set metrics of one round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from labelwise.arrays import Floats, Labels

BINS = 15


@dataclass(frozen=True)
class Metrics:
    """accuracy, macro_f1: 0..1; loss: mean negative log probability of the true class, nats, unweighted;
    ece: expected calibration error, 0..1; per class (K,), NaN without test images: recall, precision, f1."""

    accuracy: float
    macro_f1: float
    loss: float
    ece: float
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]


def evaluate(probs: Floats, labels: Labels) -> Metrics:
    """Compare (T, K) probabilities with (T,) true labels; macro F1 is the mean over the classes that have any."""
    predicted = probs.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(probs.shape[1]), zero_division=0.0
    )
    absent = np.bincount(labels, minlength=probs.shape[1]) == 0
    for values in (precision, recall, f1):
        values[absent] = np.nan
    true = probs[np.arange(len(labels)), labels].astype(np.float64)
    return Metrics(
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(f1[~absent].mean()),
        loss=float(-np.log(true).mean()),
        ece=calibration_error(probs.max(axis=1), predicted == labels),
        recall=recall,
        precision=precision,
        f1=f1,
    )


def plain(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers as JSON takes them: None for what is no number."""
    return [None if np.isnan(value) else float(value) for value in values]


def calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Return the expected calibration error with 15 equal bins (Guo et al. 2017, equation 3)."""
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=correct - confidence.astype(np.float64), minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))

"""The statistics of a study: t-intervals over seeds, paired t tests, Holm's correction. Arrays in, numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

LEVEL = 0.95
"""Coverage of every interval; a comparison is called at 1 - LEVEL."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds and its 95 % interval; low and high are NaN where there is none (n < 2)."""

    n: int
    mean: float
    low: float
    high: float


def t_interval(values: ArrayLike) -> Estimate:
    """Return mean and 95 % t-interval of (n,) independent values. n = 0 gives NaN, n = 1 gives no interval."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(x.std(ddof=1)) / math.sqrt(n)
    return Estimate(n, mean, mean - half, mean + half)


def paired_t(differences: ArrayLike) -> tuple[Estimate, float]:
    """Return mean, 95 % interval and two-sided p of (n,) paired differences against 0 (paired t test).

    p is NaN where there is no test: fewer than two pairs, or every pair differs by exactly as much (then there is no
    interval either: a spread of nothing over a few seeds is rounding, not certainty).
    """
    x = np.asarray(differences, dtype=np.float64)
    found = t_interval(x)
    if found.n < 2:
        return found, math.nan
    error = float(x.std(ddof=1)) / math.sqrt(found.n)
    if error < 1e-12:
        return Estimate(found.n, found.mean, math.nan, math.nan), math.nan
    return found, float(2 * stdtr(found.n - 1, -abs(found.mean) / error))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return (m,) p-values corrected for m tests by Holm's step-down procedure (Holm 1979), in the given order.

    A NaN is no test: it stays NaN and does not count in m.
    """
    values = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(values), np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1.0)
    return corrected


def smallest_sign_p(n: int) -> float:
    """Return the smallest two-sided p that a sign or Wilcoxon signed-rank test of n pairs can give: 2^(1-n)."""
    return float(2.0 ** (1 - n))

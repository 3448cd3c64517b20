"""The statistics of a study: t intervals, paired t, equivalence, Holm, power. Arrays in, numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import nctdtr, stdtr, stdtrit

LEVEL = 0.95
"""Coverage of every interval; a comparison is called at 1 - LEVEL."""
ONE_POINT = 0.01
"""Two accuracies within one point of each other are called similar, where a test shows that they are."""
POWER = 0.8
"""The chance of being shown that a detectable difference has."""
SAME = 1e-12
"""Below this standard error every pair differs by exactly as much."""


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
    if error < SAME:
        return Estimate(found.n, found.mean, math.nan, math.nan), math.nan
    return found, float(2 * stdtr(found.n - 1, -abs(found.mean) / error))


def equivalence(differences: ArrayLike, margin: float = ONE_POINT) -> float:
    """Return p of the paired equivalence test: below 0.05, the mean of (n,) differences lies within +-margin.

    Two one-sided t tests (Schuirmann 1987); p is the larger of theirs. NaN where there is no test, as in `paired_t`.
    """
    x = np.asarray(differences, dtype=np.float64)
    n = len(x)
    error = float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if error < SAME:
        return math.nan
    return float(stdtr(n - 1, -(margin - abs(float(x.mean()))) / error))


def detectable(differences: ArrayLike) -> float:
    """Return the smallest true difference that a paired t test of so many pairs would show in 80 of 100 studies.

    It takes the standard deviation of the (n,) differences for the true one. NaN where there is no test.
    """
    x = np.asarray(differences, dtype=np.float64)
    n = len(x)
    error = float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if error < SAME:
        return math.nan
    critical = float(stdtrit(n - 1, (1 + LEVEL) / 2))

    # in the wrong direction it is shown in fewer than one of 10,000 studies: left out
    effect = brentq(lambda size: 1 - nctdtr(n - 1, size, critical) - POWER, 0.0, 1.5 * critical + 3)
    return float(effect) * error


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

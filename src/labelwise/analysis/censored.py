"""Means of values of which some are known only as bounds: a run that never got there is no run to leave out.

Normal values with censoring, by maximum likelihood (Tobin 1958). The interval is where the profile likelihood ratio
stays below n log(1 + t^2 / (n - 1)): without censoring that is the t interval exactly, and p is that of the t test.
Where the likelihood has no maximum, since bounds alone are known, the sign test and its interval of the median answer.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr, stdtr, stdtrit
from scipy.stats import binom

from labelwise.analysis.statistics import LEVEL, Estimate, paired_t, t_interval

SMALLEST, LARGEST = 1e-4, 1e3
"""Bounds of the standard deviation, for logarithms of ratios."""
FAR = 50.0
"""A bound of the interval beyond so many units is none."""


def censored_mean(low: ArrayLike, high: ArrayLike) -> tuple[Estimate, float]:
    """Return mean, 95 % interval and two-sided p against 0 of (n,) normal values that lie in [low, high].

    low == high: the value is known; high = inf or low = -inf: a bound; both: nothing is known, which does not count
    in n. The mean is NaN where no value is known, or nothing keeps it finite: then interval and p are of the median, by
    signs. low and high of the interval are NaN where there is none (as in `paired_t`), infinite where nothing bounds
    it; p is NaN where there is no test.
    """
    a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    informs = np.isfinite(a) | np.isfinite(b)
    a, b = a[informs], b[informs]
    known = a == b
    if known.all():
        return _all_known(a)
    return _fit(a, b, known) if known.any() else _by_signs(a, b)


def _all_known(a: NDArray[np.float64]) -> tuple[Estimate, float]:
    """Return the t interval and test; where all values are one and the same, which has no t test, that by signs."""
    if len(a) < 2:
        return t_interval(a), math.nan
    found, p = paired_t(a)
    return (found, p) if not math.isnan(p) else (found, _by_signs(a, a)[1])


def _fit(a: NDArray[np.float64], b: NDArray[np.float64], known: NDArray[np.bool_]) -> tuple[Estimate, float]:
    n = len(a)
    finite = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])
    width = float(np.ptp(finite)) + 1.0
    best = minimize_scalar(
        lambda mean: -_profile(mean, a, b, known)[0],
        bounds=(float(finite.min()) - 5 * width, float(finite.max()) + 5 * width), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    mean = float(best.x)
    top, deviation = _profile(mean, a, b, known)
    if deviation < 10 * SMALLEST:  # what is known is one value, and no bound is against it
        of_median, p = _by_signs(a, b)
        return Estimate(n, mean, of_median.low, of_median.high), p
    t = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    allowed = n * math.log1p(t * t / (n - 1))

    def beyond(at: float) -> float:
        return 2 * (top - _profile(at, a, b, known)[0]) - allowed

    ratio = max(2 * (top - _profile(0.0, a, b, known)[0]), 0.0)
    p = float(2 * stdtr(n - 1, -math.sqrt((n - 1) * math.expm1(ratio / n))))
    return Estimate(n, mean, _bound(beyond, mean, -1.0), _bound(beyond, mean, 1.0)), p


def _by_signs(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[Estimate, float]:
    """Return interval and p of the median of (n,) values that lie in [a, b]: the sign test and its inversion.

    A value whose bounds leave its sign open counts against what is tested, one that is 0 not at all. p is NaN of a
    single value, as in `paired_t`, and where no sign is known.
    """
    n, signs = len(a), int((~((a == 0) & (b == 0))).sum())
    most = max(int(((b <= 0) & (a < 0)).sum()), int(((a >= 0) & (b > 0)).sum()))
    kept = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))  # the interval ends at the kept-th smallest and largest
    low, high = (float(np.sort(a)[kept - 1]), float(np.sort(b)[n - kept])) if kept else (math.nan, math.nan)
    p = min(1.0, 2 * float(binom.sf(most - 1, signs, 0.5))) if most and signs > 1 else math.nan
    return Estimate(n, math.nan, low, high), p


def _bound(beyond: object, mean: float, side: float) -> float:
    """Return where `beyond` becomes positive on one side of the mean; infinite where it does not before FAR."""
    assert callable(beyond)
    step = 0.05
    while step < FAR:
        if beyond(mean + side * step) > 0:
            return float(brentq(beyond, mean + side * step / 2 if step > 0.05 else mean, mean + side * step, xtol=1e-8))
        step *= 2
    return side * math.inf


def _profile(
    mean: float, a: NDArray[np.float64], b: NDArray[np.float64], known: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the log likelihood of a mean at its best standard deviation, and that deviation."""
    squares = float(((a[known] - mean) ** 2).sum())
    count = int(known.sum())
    beyond = np.concatenate([mean - a[~known & np.isinf(b)], b[~known & np.isinf(a)] - mean])

    def cost(log_deviation: float) -> float:
        deviation = math.exp(log_deviation)
        return count * log_deviation + squares / (2 * deviation**2) - float(log_ndtr(beyond / deviation).sum())

    found = minimize_scalar(cost, bounds=(math.log(SMALLEST), math.log(LARGEST)), method="bounded",
                            options={"xatol": 1e-7})  # fmt: skip
    return -float(found.fun), math.exp(float(found.x))

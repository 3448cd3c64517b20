"""Means with censoring: the t interval where all is known, else scipy's maximum likelihood; coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.analysis import censored
from labelwise.analysis.censored import censored_mean
from labelwise.analysis.statistics import paired_t

INF = math.inf


@given(st.lists(st.floats(-3, 1), min_size=2, max_size=8).filter(lambda x: np.std(x) > 1e-2))
@settings(max_examples=25, deadline=None)
def test_without_censoring_it_is_the_paired_t_test_also_by_likelihood(x: list[float]) -> None:
    values = np.asarray(x)
    assert censored_mean(values, values) == paired_t(values)
    found, p = censored._fit(values, values, np.ones(len(values), np.bool_))
    expected, expected_p = paired_t(values)
    assert found.mean == pytest.approx(expected.mean, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-3, rel=1e-3)
    assert p == pytest.approx(expected_p, abs=1e-3)


@pytest.mark.parametrize(("known", "right", "left"), [
    ([-0.5, -0.3, -0.1], [0.0, 0.0], []), ([-0.5, -0.2], [0.1], [-0.4]), ([-1.0, -0.9, -0.7, -0.2], [-0.5], []),
])  # fmt: skip
def test_the_mean_is_scipys_maximum_likelihood(known: list[float], right: list[float], left: list[float]) -> None:
    low = [*known, *right, *[-INF] * len(left)]
    high = [*known, *[INF] * len(right), *left]
    found, _ = censored_mean(low, high)
    data = scipy.stats.CensoredData(uncensored=known, right=right, left=left)
    assert found.mean == pytest.approx(scipy.stats.norm.fit(data)[0], abs=1e-3)
    assert found.n == len(low)
    assert found.low < found.mean < found.high


def test_a_censored_value_counts_for_more_than_its_bound() -> None:
    bound = [-0.5, -0.3, -0.4, 0.0]
    plain, _ = paired_t(bound)
    found, p = censored_mean(bound, [-0.5, -0.3, -0.4, INF])
    assert found.mean > plain.mean
    assert found.high > plain.high
    dropped, dropped_p = paired_t(bound[:3])
    assert found.mean > dropped.mean
    assert p > dropped_p


def test_what_cannot_be_known_is_not_given() -> None:
    everything_open, p = censored_mean([0.0, 0.0], [INF, INF])
    assert (everything_open.n, math.isnan(everything_open.mean), p) == (2, True, 0.5)
    nothing, _ = censored_mean([-INF, -INF, -0.2, -0.4], [INF, INF, -0.2, -0.4])
    assert nothing.n == 2
    alone, p = censored_mean([-0.2], [-0.2])
    assert (alone.mean, math.isnan(alone.low), math.isnan(p)) == (-0.2, True, True)
    consistent, p = censored_mean([-0.2, -0.3], [-0.2, INF])  # one value, and a bound that it does not contradict
    assert (consistent.mean, math.isnan(consistent.low), p) == (pytest.approx(-0.2, abs=1e-3), True, 1.0)
    assert censored_mean([], [])[0].n == 0


@given(st.integers(1, 25), st.integers(0, 25))
def test_bounds_alone_are_told_by_the_sign_test(n: int, below: int) -> None:
    below = min(n, below)
    high = [-0.1 * (i + 1) if i < below else INF for i in range(n)]
    found, p = censored_mean([-INF] * n, high)  # what is not bounded tells nothing and does not count
    assert found.n == below
    if below:
        assert math.isnan(found.mean)
        assert math.isnan(p) if below == 1 else p == pytest.approx(scipy.stats.binomtest(below, below).pvalue)
        if p < 0.05:
            assert found.low == -INF
            assert found.high < 0
    open_sign, p = censored_mean([-0.5] * n, [INF] * n)  # no sign is known
    assert math.isnan(p)
    assert math.isnan(open_sign.mean)


def test_what_is_zero_has_no_sign() -> None:
    ties, p = censored_mean([0.0] * 9 + [-0.5], [0.0] * 9 + [INF])
    assert math.isnan(p)
    assert ties.n == 10
    _, p = censored_mean([0.0] * 4, [0.0] * 4)
    assert math.isnan(p)
    same, p = censored_mean([-2.3] * 10, [-2.3] * 10)  # ten seeds that stop at the same labels
    assert (same.mean, p) == (pytest.approx(-2.3), pytest.approx(scipy.stats.binomtest(10, 10).pvalue))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(120):
        values = rng.normal(-0.2, 0.2, 5)
        beyond = values > 0  # a sixth of them
        found, _ = censored_mean(np.where(beyond, 0.0, values), np.where(beyond, INF, values))
        if not math.isnan(found.low):
            covered.append(found.low <= -0.2 <= found.high)
    assert 0.9 <= np.mean(covered) <= 1.0

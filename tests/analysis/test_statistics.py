"""Intervals, paired tests and Holm's correction against SciPy, statsmodels and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from labelwise.analysis.statistics import (
    ONE_POINT,
    detectable,
    equivalence,
    holm,
    paired_t,
    smallest_sign_p,
    t_interval,
)

VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=12).filter(lambda x: np.std(x) > 1e-6)


@given(VALUES)
def test_t_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=1e-12)


def test_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 3.0])  # sd 1, t(2) = 4.302653
    assert (found.n, found.mean) == (3, 2.0)
    assert found.high - found.mean == pytest.approx(4.302653 / np.sqrt(3), abs=1e-6)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_no_interval_of_fewer_than_two(values: list[float]) -> None:
    found = t_interval(values)
    assert found.n == len(values)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(paired_t(values)[1])


@given(VALUES, st.floats(-1, 1))
def test_paired_t_is_scipys(values: list[float], shift: float) -> None:
    other = np.asarray(values) * 0.3 + shift
    expected = scipy.stats.ttest_rel(values, other)
    found, p = paired_t(np.asarray(values) - other)
    interval = expected.confidence_interval(0.95)
    assert p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


@pytest.mark.parametrize("difference", [0.0, 0.01])
def test_equal_differences_are_no_test(difference: float) -> None:
    found, p = paired_t(np.full(5, 0.7) - (0.7 - difference))
    assert found.mean == pytest.approx(difference)
    assert np.isnan([found.low, found.high, p]).all()


def test_holm_by_hand() -> None:
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2 (never below the one before), 0.5 x 1
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.4, 0.3]) == pytest.approx([0.6, 0.6])
    assert holm([0.9, 0.8, 0.7]) == pytest.approx([1.0, 1.0, 1.0])
    assert len(holm([])) == 0


def test_holm_does_not_count_what_was_not_tested() -> None:
    found = holm([0.02, float("nan"), 0.03])
    assert found[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(found[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_is_between_none_and_bonferroni(p: list[float]) -> None:
    found = holm(p)
    assert (found >= p).all()
    assert (found <= np.minimum(np.asarray(p) * len(p), 1) + 1e-12).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()
    order = np.random.default_rng(len(p)).permutation(len(p))
    assert holm(np.asarray(p)[order]) == pytest.approx(found[order])


def test_smallest_sign_p_is_scipys() -> None:
    assert smallest_sign_p(5) == 0.0625 == scipy.stats.wilcoxon([1, 2, 3, 4, 5]).pvalue
    assert smallest_sign_p(5) == scipy.stats.binomtest(5, 5).pvalue


DIFFERENCES = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=12).filter(lambda x: np.std(x) > 1e-4)


@given(DIFFERENCES)
def test_equivalence_is_statsmodels_two_one_sided_tests(x: list[float]) -> None:
    expected = ttost_paired(np.asarray(x), np.zeros(len(x)), -ONE_POINT, ONE_POINT)[0]
    assert equivalence(x) == pytest.approx(expected, abs=1e-9)


def test_equivalence_by_hand() -> None:
    # mean 0.002, standard error 0.001 over 4: t = (0.01 - 0.002) / 0.001 = 8 with 3 degrees of freedom
    x = 0.002 + np.array([-1, -1, 1, 1]) * 0.001 * np.sqrt(3)
    assert equivalence(x) == pytest.approx(scipy.stats.t.sf(8, 3))
    assert math.isnan(equivalence([0.001]))
    assert math.isnan(equivalence([0.001, 0.001]))


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
def test_the_detectable_difference_is_statsmodels(n: int) -> None:
    x = np.random.default_rng(n).normal(0, 0.02, n)
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert detectable(x) == pytest.approx(effect * x.std(ddof=1), rel=1e-3)
    assert math.isnan(detectable(np.ones(n)))

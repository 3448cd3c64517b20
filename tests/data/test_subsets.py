from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import ImageSet
from labelwise.data.subsets import draw_subset, stratified
from labelwise.errors import InputError


def dataset(labels: np.ndarray, tests: int = 0, classes: tuple[str, ...] = ()) -> Dataset:
    """A data set without pixels; its last `tests` images are the test set."""
    count = len(labels)
    names = classes or tuple(f"class {k}" for k in range(labels.max() + 1))
    images = ImageSet([str(i) for i in range(count)], "", True, None, None, 0)
    return Dataset("", names, images, labels, np.arange(count - tests), np.arange(count - tests, count), "")


def cifar_like() -> Dataset:
    rng = np.random.default_rng(0)
    train, test = (rng.permutation(np.repeat(np.arange(10), n)) for n in (5000, 1000))
    return dataset(np.concatenate([train, test]), 10_000)


ROWS = {
    "100%": 50_000, "75%": 37_500, "50%": 25_000, "25%": 12_500, "10%": 5_000, "5%": 2_500, "3%": 1_500, "1%": 500,
    "3%/1%": 1_300, "10%/1%": 4_100, "50%/1%": 20_100,
}  # fmt: skip


@pytest.mark.parametrize(("row", "budget"), ROWS.items())
def test_the_rows_of_the_study(row: str, budget: int) -> None:
    data, study = cifar_like(), Study(sizes=(row,))
    subset = draw_subset(data, study, study.sizes[0], seed=3)
    assert subset.budget == len(subset.indices) == budget
    assert np.isin(subset.indices, data.pool).all()
    assert len(np.unique(subset.indices)) == budget
    assert (np.diff(subset.indices) > 0).all()
    counts = np.bincount(data.labels[subset.indices], minlength=10)
    assert len(subset.minority) == (2 if "/" in row else 0)
    assert (counts[list(subset.minority)] == 50).all()
    assert len(set(np.delete(counts, list(subset.minority)))) == 1


def test_equal_seeds_draw_the_same_and_others_do_not() -> None:
    data, study = cifar_like(), Study(sizes=("3%", "10%/1%", "50%/1%"))
    three, ten, fifty = study.sizes
    one, again, other = (draw_subset(data, study, three, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.indices, again.indices)
    assert len(np.intersect1d(one.indices, other.indices)) < 200
    assert draw_subset(data, study, ten, 5).minority == draw_subset(data, study, fifty, 5).minority
    assert len({draw_subset(data, study, ten, seed).minority for seed in range(20)}) > 5


def test_minority_classes_can_be_pinned() -> None:
    data = cifar_like()
    study = Study(sizes=("10%/1%",), minority=("class 7", "class 2", "class 7"))
    assert draw_subset(data, study, study.sizes[0], 0).minority == (2, 7)


@pytest.mark.parametrize(
    ("minority", "message"),
    [
        (("class 77",), "no class 'class 77'; did you mean 'class"),
        (0, "0 minority classes do not fit"),
        (10, "10 minority classes do not fit"),
        ((), "0 minority classes do not fit"),
        (tuple(f"class {k}" for k in range(10)), "10 minority classes do not fit"),
    ],
)
def test_minority_classes_that_do_not_fit(minority: object, message: str) -> None:
    study = Study(sizes=("10%/1%",), minority=minority)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        draw_subset(cifar_like(), study, study.sizes[0], 0)


def test_a_budget_above_the_pool_is_an_error() -> None:
    data = dataset(np.repeat([0, 1], 50), tests=20)
    for labels in (80, 81):
        study = Study(sizes=(labels,))
        if labels == 80:
            np.testing.assert_array_equal(draw_subset(data, study, study.sizes[0], 0).indices, data.pool)
        else:
            with pytest.raises(InputError, match="81 labels is larger than the pool of 80 images"):
                draw_subset(data, study, study.sizes[0], 0)


counts_of_classes = st.lists(st.integers(1, 300), min_size=2, max_size=12)


@given(counts_of_classes, st.floats(0.001, 1), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_shares(counts: list[int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = dataset(rng.permutation(np.repeat(np.arange(len(counts)), counts)))
    study = Study(sizes=(share,))  # type: ignore[arg-type]
    subset = draw_subset(data, study, study.sizes[0], seed)
    got = np.bincount(data.labels[subset.indices], minlength=len(counts))
    expected = np.maximum(1, np.floor(share * np.array(counts) + 0.5))
    np.testing.assert_array_equal(got, expected)
    assert len(np.unique(subset.indices)) == subset.budget


@given(counts_of_classes, st.floats(0, 1), st.integers(0, 50))
@settings(max_examples=300, deadline=None)
def test_stratified_draws(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n = max(1, round(share * len(labels)))
    picked = stratified(labels, n, np.random.default_rng(seed))
    np.testing.assert_array_equal(picked, stratified(labels, n, np.random.default_rng(seed)))
    assert len(np.unique(picked)) == len(picked) == n
    assert (np.diff(picked) > 0).all()
    got, exact = np.bincount(labels[picked], minlength=len(counts)), n * np.array(counts) / len(labels)
    if n >= len(counts):
        assert (got >= 1).all()
    raised = np.maximum(0, 1 - exact).sum() if n >= len(counts) else 0  # what lifting tiny classes to one costs others
    assert (np.abs(got - exact) <= 1 + raised + 1e-9).all()


def test_classes_without_images_are_left_out() -> None:
    labels = np.array([0, 0, 3, 3, 3, 5])
    assert np.bincount(labels[stratified(labels, 3, np.random.default_rng(0))], minlength=6).tolist() == [
        1,
        0,
        0,
        1,
        0,
        1,
    ]


def test_equal_remainders_are_drawn_by_lot() -> None:
    labels = np.repeat(np.arange(10), 100)
    drawn = [set(labels[stratified(labels, 3, np.random.default_rng(seed))].tolist()) for seed in range(30)]
    assert set().union(*drawn) == set(range(10))

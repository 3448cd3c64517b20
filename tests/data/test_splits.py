from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.data.decode import LOOK
from labelwise.data.splits import groups_of, overlap, set_apart


def scattered(count: int) -> np.ndarray:
    """Thumbnails that have nothing in common."""
    return np.random.default_rng(7).integers(0, 256, (count, LOOK * LOOK), dtype=np.uint8)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and group ids, each group of one class; every class has at least two images."""
    labels, groups = [], []
    for k in range(draw(st.integers(2, 6))):
        sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=30).filter(lambda sizes: sum(sizes) > 1))
        for size in sizes:
            groups += [len(groups)] * size
            labels += [k] * size
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(labels))
    return np.array(labels)[order], np.array(groups)[order]


@given(grouped(), st.sampled_from([0.1, 0.2, 0.35, 0.5]))
@settings(max_examples=200, deadline=None)
def test_split(data: tuple[np.ndarray, np.ndarray], share: float) -> None:
    labels, groups = data
    test = set_apart(labels, groups, share)
    np.testing.assert_array_equal(test, set_apart(labels, groups, share))
    for group in np.unique(groups):
        assert len(np.unique(test[groups == group])) == 1, "a group is on both sides"
    for k in np.unique(labels):
        ids, sizes = np.unique(groups[labels == k], return_counts=True)
        if len(ids) >= 2:
            assert 0 < test[labels == k].sum() < (labels == k).sum(), "a class is on one side only"
            assert abs(test[labels == k].sum() - share * (labels == k).sum()) <= max(1, sizes.max())


@given(st.lists(st.integers(2, 400), min_size=2, max_size=8), st.sampled_from([0.05, 0.2, 0.5]))
@settings(max_examples=50, deadline=None)
def test_without_groups_each_class_gives_exactly_its_share(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    test = set_apart(labels, np.arange(len(labels)), share)
    np.testing.assert_array_equal(
        np.bincount(labels[test]), np.maximum(1, np.round(share * np.array(counts))).astype(int)
    )


@given(st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_groups_of_several_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, labels = np.sort(rng.integers(0, 60, 400)), rng.integers(0, 4, 400)
    test = set_apart(labels, groups, 0.2)
    assert not np.intersect1d(groups[test], groups[~test]).size
    assert 0.1 < test.mean() < 0.3
    assert len(np.unique(labels[test])) == len(np.unique(labels[~test])) == 4


def test_a_class_of_one_group_is_in_training_only() -> None:
    labels = np.repeat([0, 1, 2], 10)
    groups = np.where(labels == 1, 100, np.arange(30))
    test = set_apart(labels, groups, 0.2)
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 0, 2]


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_every_class_is_learned_whatever_the_groups(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 5, 60), rng.integers(0, number, 60)
    test = set_apart(labels, groups, 0.3)
    assert set(labels[~test]) == set(labels)
    assert not np.intersect1d(groups[test], groups[~test]).size


def test_overlap_counts_equal_content_and_equal_looks() -> None:
    looks = scattered(6)
    looks[4] = looks[1]  # another file that looks the same
    hashes = np.array([f"{i:032d}".encode() for i in (0, 1, 2, 0, 4, 5)]).view("V32")
    test = np.array([False, False, False, True, True, True])
    looks[3] = looks[0]
    assert overlap(test, hashes, looks) == (1, 1)
    assert overlap(test, hashes, None) == (1, 0)
    assert overlap(~test, hashes, looks) == (1, 1)


def test_declared_groups_and_looks_are_joined() -> None:
    looks = scattered(8)
    looks[5] = looks[0]
    found = groups_of(["a", "a", "b", "", "", "b", "", "c"], looks)
    assert len(set(found[[0, 1, 2, 5]])) == 1, "a and b share a picture"
    assert len(set(found)) == 5
    assert len(set(groups_of(None, scattered(8)))) == 8


@pytest.mark.parametrize("names", [["", ""], ["x\0", "x"], ["É", "é"]])
def test_group_names_are_compared_as_they_are(names: list[str]) -> None:
    assert len(set(groups_of(names, scattered(2)))) == 2


def test_a_large_set_is_split_quickly() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 100, 200_000)
    groups = rng.integers(0, 60_000, 200_000)
    test = set_apart(labels, groups, 0.2)
    assert abs(test.mean() - 0.2) < 0.01

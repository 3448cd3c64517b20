"""A test split for data that has none: stratified, and whole groups on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from labelwise.arrays import Labels
from labelwise.data.duplicates import Looks, Pairs, near_duplicates
from labelwise.seeds import generator

SPLIT_SEED = 0
"""The test set is fixed: it does not change with the study's seeds."""


def groups_of(groups: Sequence[str] | None, looks: Looks) -> NDArray[np.int64]:
    """Return a group id an image, (N,): images of one declared group, and near-duplicates, have the same.

    groups: (N,) declared ids, "" for none, or None; looks: (N, LOOK * LOOK) uint8 thumbnails.
    """
    return groups_by(groups, near_duplicates(looks), len(looks))


def groups_by(groups: Sequence[str] | None, alike: Pairs, count: int) -> NDArray[np.int64]:
    """Return a group id each, (N,): those of one declared group, and of a pair, have the same. alike: pairs of rows."""
    links = [alike]
    if groups is not None:
        links.append(_declared(np.asarray(groups, dtype=object)))
    first, second = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _declared(groups: NDArray[np.object_]) -> Pairs:
    """Link every image of a declared group to the group's first."""
    positions = np.flatnonzero(groups != "")
    seen: dict[str, int] = {}
    return positions, np.array([seen.setdefault(groups[i], i) for i in positions.tolist()], dtype=np.int64)


def set_apart(labels: Labels, groups: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Return (N,) bool: the test set, about `share` of each class, no group on both sides.

    Groups of several images are dealt first, in a fixed random order, as long as they bring the classes nearer to
    their share; single images fill up what is missing. Then every class that can be gets onto both sides; a class
    that cannot, since all its images are one group, is not in the test set.
    """
    test = np.zeros(len(labels), dtype=bool)
    wanted = np.maximum(1, np.round(share * np.bincount(labels))).astype(np.int64)
    alone = np.bincount(groups)[groups] == 1
    _deal_groups(test, np.flatnonzero(~alone), labels, groups, wanted)
    _deal_alone(test, np.flatnonzero(alone), labels, wanted)
    for side in (True, False):
        for k in np.setdiff1d(labels, labels[test == side]):
            _move_one(test, labels, groups, k, side)
    while len(unlearned := np.setdiff1d(labels, labels[~test])):  # a class that is tested is learned too
        test &= ~np.isin(groups, groups[np.isin(labels, unlearned)])
    return test


def _deal_groups(
    test: NDArray[np.bool_], positions: NDArray[np.int64], labels: Labels, groups: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> None:  # fmt: skip
    ids, rows = np.unique(groups[positions], return_inverse=True)
    ones = np.ones(len(positions), np.int64)
    table = csr_array((ones, (rows, labels[positions])), shape=(len(ids), len(wanted)))  # images a group and class
    table.sum_duplicates()
    missing, taken = wanted.copy(), np.zeros(len(ids), dtype=bool)
    for group in generator(SPLIT_SEED, "test groups").permutation(len(ids)):
        entries = slice(table.indptr[group], table.indptr[group + 1])
        k, count = table.indices[entries], table.data[entries]
        if np.abs(missing[k] - count).sum() < np.abs(missing[k]).sum():
            missing[k] -= count
            taken[group] = True
    test[positions[taken[rows]]] = True


def _deal_alone(
    test: NDArray[np.bool_], positions: NDArray[np.int64], labels: Labels, wanted: NDArray[np.int64]
) -> None:
    """Fill each class up to what is wanted with single images."""
    rng = generator(SPLIT_SEED, "test images")
    missing = np.maximum(0, wanted - np.bincount(labels[test], minlength=len(wanted)))
    shuffled = rng.permutation(positions)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    ends = np.cumsum(np.bincount(labels[positions], minlength=len(wanted)))
    for k, of_class in enumerate(np.split(by_class, ends[:-1])):
        test[of_class[: missing[k]]] = True


def _move_one(test: NDArray[np.bool_], labels: Labels, groups: NDArray[np.int64], k: int, side: bool) -> None:
    """Move the class's smallest group to `side`, where that leaves no class without images on the other side."""
    ids, sizes = np.unique(groups[labels == k], return_counts=True)
    if len(ids) < 2:
        return
    for group in ids[np.argsort(sizes, kind="stable")]:
        moved = np.flatnonzero(groups == group)
        left = labels[(test != side) & (groups != group)]
        if np.isin(labels[moved], left).all():
            test[moved] = side
            return


def overlap(test: NDArray[np.bool_], hashes: NDArray[np.void], looks: Looks | None) -> tuple[int, int]:
    """Return how many test images are in the training set too: the same content, and others that look the same.

    test: (N,) bool; hashes: (N,) of the content; looks: (N, LOOK * LOOK) uint8 thumbnails, or None.
    """
    same = np.isin(hashes[test], hashes[~test])
    if looks is None:
        return int(same.sum()), 0
    first, second = near_duplicates(looks)
    across = test[first] != test[second]
    alike = np.zeros(len(test), dtype=bool)
    alike[np.where(test[first], first, second)[across]] = True
    return int(same.sum()), int((alike[test] & ~same).sum())

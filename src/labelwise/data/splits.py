"""A test split for data that has none: stratified, and whole groups on one side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from labelwise.arrays import Labels

SPLIT_SEED = 0
"""The test set is fixed: it does not change with the study's seeds."""


def groups_of(groups: Sequence[str] | None, looks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return a group id an image, (N,): same declared group, or the same look, means the same group.

    groups: (N,) declared ids, "" for none, or None; looks: (N, 16) uint8 difference hashes, all zero for flat images.
    """
    count = len(looks)
    edges = [_links(np.ascontiguousarray(looks).view("V16").ravel(), looks.any(axis=1))]
    if groups is not None:
        declared = np.asarray(groups, dtype=str)
        edges.append(_links(declared, declared != ""))
    first, second = (np.concatenate(side) for side in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _links(keys: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Link every valid image to the first one with the same key: two (n,) arrays of positions."""
    positions = np.flatnonzero(valid)
    if not len(positions):
        return positions, positions
    _, first, inverse = np.unique(keys[positions], return_index=True, return_inverse=True)
    return positions, positions[first[inverse.ravel()]]


def set_apart(labels: Labels, groups: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Return (N,) bool: the test set, about `share` of the images, stratified by class, no group on both sides.

    Single images are split by a stratified shuffle, the (usually few) real groups by StratifiedGroupKFold; then
    every class that has at least two groups gets one on either side.
    """
    test = np.zeros(len(labels), dtype=bool)
    alone = np.bincount(groups)[groups] == 1
    _split_alone(test, np.flatnonzero(alone), labels, share)
    _split_groups(test, np.flatnonzero(~alone), labels, groups, share)
    for side in (True, False):
        for k in np.setdiff1d(labels, labels[test == side]):
            ids, sizes = np.unique(groups[labels == k], return_counts=True)
            if len(ids) >= 2:
                test[groups == ids[sizes.argmin()]] = side
    return test


def _split_alone(test: NDArray[np.bool_], positions: NDArray[np.int64], labels: Labels, share: float) -> None:
    """Mark a stratified share of single images as test; classes with a single such image stay in the pool."""
    if not len(positions):
        return
    counts = np.bincount(labels[positions])
    positions = positions[counts[labels[positions]] >= 2]
    classes = len(np.unique(labels[positions]))
    wanted = max(classes, round(share * len(positions)))
    if classes and wanted <= len(positions) - classes:
        splitter = StratifiedShuffleSplit(1, test_size=wanted, random_state=SPLIT_SEED)
        _, held = next(splitter.split(positions, labels[positions]))
        test[positions[held]] = True


def _split_groups(
    test: NDArray[np.bool_], positions: NDArray[np.int64], labels: Labels, groups: NDArray[np.int64], share: float
) -> None:
    folds = max(2, round(1 / share))
    if len(np.unique(groups[positions])) >= folds and np.bincount(labels[positions]).max() >= folds:
        with warnings.catch_warnings():  # it warns of classes with fewer images than folds; these are mended after it
            warnings.simplefilter("ignore", UserWarning)
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SPLIT_SEED)
            _, held = next(splitter.split(positions, labels[positions], groups[positions]))
        test[positions[held]] = True

"""Near-duplicates: pictures that are the same but for size, compression, brightness or contrast.

Two images are near-duplicates when their grey thumbnails, each shifted and scaled to mean 0 and length 1, are closer
than DISTANCE, and no single spot differs by more than SPOT standard deviations (a small object that one of them lacks).
Neighbours are looked up in a tree over the thumbnails' lowest frequencies, so the cost grows as N log N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.spatial import KDTree

from labelwise.data.decode import LOOK

DISTANCE = 0.1
SPOT = 0.3
FLAT = 2.0
"""Thumbnails whose grey levels (0..255) have a smaller standard deviation show nothing that could be compared."""
NEIGHBOURS = 6
FREQUENCIES = 9
CHUNK = 65536  # bounds the memory of what is computed in passing
Looks = NDArray[np.uint8]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def near_duplicates(looks: Looks) -> Pairs:
    """Return pairs of near-duplicates as two (n,) arrays of positions; looks: (N, LOOK * LOOK) uint8 thumbnails.

    Not every pair of a large cluster is listed, but enough that the pairs connect it.
    """
    looks = np.ascontiguousarray(looks)
    positions = np.flatnonzero(_shown(looks))
    if not len(positions):
        return positions, positions
    rows = looks.view(f"V{looks.shape[1]}").ravel()[positions]
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    copies = first[inverse.ravel()] != np.arange(len(positions))
    one, other = _near(looks[positions[first]])
    return (
        np.concatenate([positions[copies], positions[first][one]]),
        np.concatenate([positions[first[inverse.ravel()]][copies], positions[first][other]]),
    )


def _shown(looks: Looks) -> NDArray[np.bool_]:
    """Return (N,) bool: which thumbnails are not flat."""
    return np.concatenate([looks[at : at + CHUNK].std(axis=1) >= FLAT for at in range(0, len(looks), CHUNK)])


def _near(looks: Looks) -> Pairs:
    """Return pairs of near-duplicates among thumbnails that are not flat and all differ."""
    if len(looks) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    waves = _lowest_frequencies()
    coarse = np.concatenate([_normalised(looks[at : at + CHUNK]) @ waves for at in range(0, len(looks), CHUNK)])
    neighbours = range(2, min(NEIGHBOURS, len(looks)) + 1)  # the first neighbour is the image itself, or its equal
    _, found = KDTree(coarse).query(coarse, k=neighbours, distance_upper_bound=DISTANCE)
    one, other = np.repeat(np.arange(len(looks)), len(neighbours)), found.ravel()
    there = other < len(looks)  # the tree's way of saying that there are fewer
    one, other = one[there], other[there]
    alike = [_alike(looks, one[at : at + CHUNK], other[at : at + CHUNK]) for at in range(0, len(one) or 1, CHUNK)]
    kept = np.flatnonzero(np.concatenate(alike))
    return one[kept], other[kept]


def _alike(looks: Looks, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    difference = _normalised(looks[one]) - _normalised(looks[other])
    spots = np.abs(difference).max(axis=1) * LOOK  # in standard deviations: of a normalised pixel it is 1 / LOOK
    result: NDArray[np.bool_] = (np.linalg.norm(difference, axis=1) < DISTANCE) & (spots < SPOT)
    return result


def _normalised(looks: Looks) -> NDArray[np.float32]:
    """Return thumbnails that are not flat with mean 0 and length 1, (n, LOOK * LOOK) float32."""
    shapes = looks.astype(np.float32)
    shapes -= shapes.mean(axis=1, keepdims=True)
    result: NDArray[np.float32] = shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
    return result


def _lowest_frequencies() -> NDArray[np.float32]:
    """Return (LOOK * LOOK, FREQUENCIES) orthonormal waves: what they see is never farther apart than the images."""
    order = np.argsort(np.add.outer(np.arange(LOOK), np.arange(LOOK)).ravel(), kind="stable")[1 : FREQUENCIES + 1]
    waves = dctn(np.eye(LOOK * LOOK).reshape(-1, LOOK, LOOK), axes=(1, 2), norm="ortho").reshape(LOOK * LOOK, -1)
    result: NDArray[np.float32] = waves[:, order].astype(np.float32)
    return result

"""The data set that everything above works on, and what a source lists of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels
from labelwise.data.images import ImageSet
from labelwise.data.seen import Seen
from labelwise.data.vectors import Vectors


@dataclass(frozen=True)
class Listing:
    """What a source lists before an image is decoded.

    classes: declared by the source, K names; labels: (N,) 0..K-1; test: (N,) bool, or None without a test split;
    groups: (N,) ids of scenes that belong together, or None; names: what to call each image;
    pixels: (N, H, W, 3) uint8, or blob(i) -> encoded bytes with `key` that stands for their content, or vectors: the
    features of data without images;
    kind: what kind of source it is, in words; unused: what lies there and is not used, in words -> how many;
    notes: what the reader of a report must know about the data.
    """

    source: str
    classes: tuple[str, ...]
    labels: Labels
    names: Sequence[str]
    test: NDArray[np.bool_] | None = None
    groups: Sequence[str] | None = None
    pixels: NDArray[np.uint8] | None = None
    blob: Callable[[int], bytes] | None = None
    key: str = ""
    vectors: Vectors | None = None
    kind: str = ""
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """N labelled images; dataset indices are row numbers 0..N-1 over pool and test together.

    labels: (N,) 0..K-1; pool: (P,) and test: (T,) dataset indices, sorted, disjoint; fingerprint: stands for the
    images, labels, class names and the split; features: (N, D) embeddings that were made elsewhere, mapped, or None;
    groups: (N,) as the source declares them, "" for none, or None.
    """

    source: str
    classes: tuple[str, ...]
    images: ImageSet
    labels: Labels
    pool: Indices
    test: Indices
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    features: Floats | None = None
    groups: Sequence[str] | None = None
    seen: Seen = field(default_factory=Seen)

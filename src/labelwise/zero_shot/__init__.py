"""Zero-shot models: class probabilities before any label is bought. One literal table, a row a kind of model.

To add one: a function `open(settings, dataset, device, skipped) -> ZeroShotModel`, and one row below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.errors import InputError, nearest
from labelwise.parts import ZeroShot


@dataclass(frozen=True)
class Guesses:
    """What a zero-shot model says of some images.

    indices: (n,) dataset indices; probs: (n, K) float64, rows sum to 1, not floored, so that high confidences can be
    told apart; seconds: what they took when they were computed, 0 where that is not known.
    """

    indices: Indices
    probs: NDArray[np.float64]
    seconds: float = 0.0

    @property
    def labels(self) -> Labels:
        """(n,) the most probable classes."""
        return np.asarray(self.probs.argmax(axis=1), dtype=np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(n,) the probabilities of those."""
        return np.asarray(self.probs.max(axis=1))


class ZeroShotModel(Protocol):
    """Says what is on images without having seen a label of them.

    title: what reports call it, as in `labels from <title>`; key: stands for all that its answers depend on; note: what
    the reader of a report must know of it; missing: why it cannot answer for the test set, or "".
    """

    title: str
    key: str
    note: str
    missing: str

    def predict(self, indices: Indices, progress: Progress) -> Guesses:
        """Return class probabilities for the images at `indices`."""
        ...

    def pace(self, indices: Indices) -> float:
        """Return the seconds that an image takes here, measured on a few of these; 0 where nothing is computed."""
        ...

    def known(self, accuracy: float) -> str:
        """Say what its accuracy on the test set is held against. Errors: InputError where it cannot be right."""
        ...


@dataclass(frozen=True)
class ZeroShotInfo:
    """One row of ZERO_SHOT. recognises(model): is a study's `zero_shot.model` of this kind? module: has

    `open_model(settings, dataset, device, skipped)`, and is imported only when it is used.
    """

    name: str
    summary: str
    recognises: Callable[[str], bool]
    module: str


ZERO_SHOT: tuple[ZeroShotInfo, ...] = (
    ZeroShotInfo("clip", "CLIP by transformers (extra [clip]): any of its weights, hub or local folder",
                 "clip".__eq__, "labelwise.zero_shot.clip"),
    ZeroShotInfo("file:PATH", "class probabilities of any model in a CSV or Parquet file, a column a class",
                 lambda model: model.startswith("file:"), "labelwise.zero_shot.file"),
)  # fmt: skip


def check_zero_shot(settings: ZeroShot) -> str | None:
    """Return what is wrong with the name of a zero-shot model, in words, or None. Files are not read."""
    if any(row.recognises(settings.model) for row in ZERO_SHOT):
        return None
    return f"'{settings.model}' is not a zero-shot model{nearest(settings.model, [row.name for row in ZERO_SHOT])}"


def open_zero_shot(settings: ZeroShot, dataset: Dataset, device: str, skipped: bool) -> ZeroShotModel:
    """Open the model that a study names. Errors: InputError for weights or files that cannot be had or do not fit.

    skipped: unreadable images may have been left out of the data set.
    """
    if problem := check_zero_shot(settings):
        raise InputError(f"zero_shot.model: {problem}")
    row = next(row for row in ZERO_SHOT if row.recognises(settings.model))
    model: ZeroShotModel = import_module(row.module).open_model(settings, dataset, device, skipped)
    return model

"""Class probabilities that any model wrote into a file. What made them is not known here, and never claimed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.data.joined import by_path, column_of, read_columns, read_joined
from labelwise.errors import InputError, printable
from labelwise.parts import ZeroShot
from labelwise.zero_shot import Guesses

TOLERANCE = 1e-2
"""How far from 1 a row may sum: float16 columns of many classes are off by some thousandths."""
UNIFORM = 1e-6
"""Probabilities of a row that differ by less are equal, but for rounding."""


@dataclass(frozen=True)
class FileOfProbabilities:
    """probs: (N, K) by dataset index, NaN where the file says nothing; the rest: see ZeroShotModel."""

    title: str
    key: str
    note: str
    missing: str
    probs: NDArray[np.float64]

    def predict(self, indices: Indices, progress: Progress) -> Guesses:
        """Return the file's probabilities. Errors: ValueError for images that it does not cover."""
        probs = self.probs[indices]
        if np.isnan(probs).any():
            raise ValueError("the file has no probabilities for some of these images")
        return Guesses(indices, probs)

    def pace(self, indices: Indices) -> float:
        """Return 0: a file is read."""
        return 0.0

    def known(self, accuracy: float) -> str:
        """Say that nothing is known of the model behind a file."""
        return "No accuracy is known to hold it against."


def open_model(settings: ZeroShot, dataset: Dataset, _device: str, skipped: bool) -> FileOfProbabilities:
    """Read and check a file: a column a class, a row an image (see `read_joined`). Errors: InputError."""
    joined = read_joined(settings.model.removeprefix("file:"), dataset, skipped)
    values = _checked(joined.path, joined.columns, dataset.classes, [dataset.images.names[i] for i in joined.indices])
    if parent_process() is None:  # workers open it too
        _warn(joined.path, values, dataset.classes)
    probs = np.full((len(dataset.images), len(dataset.classes)), np.nan)
    probs[joined.indices] = values / values.sum(axis=1, keepdims=True)
    uncovered = int(np.isnan(probs[dataset.test, 0]).sum())
    missing = (
        f"the file has no probabilities for {uncovered:,} of the {len(dataset.test):,} test images" if uncovered else ""
    )
    name = printable(joined.path.name)
    return FileOfProbabilities(
        f"the file {name}", joined.key,
        f"The class probabilities were read from the file {name}: what model made them, how, and in what time, is "
        "not in the records. They are not CLIP's, and nothing here shows that the model had seen no labels.",
        missing, probs,
    )  # fmt: skip


def _warn(path: Path, values: NDArray[np.float64], classes: Sequence[str]) -> None:
    """Print a line where (n, K) probabilities tell no image from another."""
    top = np.unique(values.argmax(axis=1))
    if len(values) < 2 or len(top) > 1:
        return
    why = f"the most probable class is '{classes[int(top[0])]}' in every row"
    if float(np.ptp(values, axis=1).max()) < UNIFORM:
        why = "all classes are equally probable in every row, so it says nothing"
    print(f"warning: {path}: {why}; is it the right file?", file=sys.stderr)


def check_file(name: str, classes: Sequence[str]) -> None:
    """Check a file's columns and rows before its images are known; no classes: its path column. Errors: InputError."""
    path, columns, _ = read_columns(name)
    if "path" not in columns:
        raise InputError(f"{path}: no column path; it needs one, with a column a class")
    if classes:
        _warn(path, _checked(path, columns, classes, [str(image) for image in columns["path"]]), classes)


def check_paths(name: str, images: Sequence[str], folder: str) -> None:
    """Check that each row is of one of a folder's images, and of another one than the rest. Errors: InputError."""
    path, columns, _ = read_columns(name)
    by_path(path, columns, images, folder)


def _checked(
    path: Path, found: dict[str, NDArray[Any]], classes: Sequence[str], names: Sequence[str]
) -> NDArray[np.float64]:
    """Return (n, K) probabilities in the order of the classes. names: of the rows' images.

    Errors: InputError that names the first bad row.
    """
    columns = []
    for name in classes:
        column = column_of(path, found, name, "for the class")
        if column.dtype == object:  # an empty cell of a CSV file
            column = np.where(column == "", np.nan, column)
        try:
            columns.append(column.astype(np.float64))
        except (ValueError, TypeError):
            raise InputError(f"{path}: the column '{name}' holds something that is no number") from None
    values = np.stack(columns, axis=1)
    total = values.sum(axis=1)
    for bad, what in (
        (~np.isfinite(values).all(axis=1), "hold NaN or infinite values"),
        ((values < 0).any(axis=1), "hold negative values"),
        (np.abs(total - 1) > TOLERANCE, "do not sum to 1"),
    ):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            sums = f" (the first sums to {total[first]:g})" if "sum" in what else ""
            raise InputError(
                f"{path}: {int(bad.sum()):,} of {len(values):,} rows {what}, the first is that of "
                f"{printable(names[first])}{sums}; probabilities are needed, a column a class"
            )
    return values

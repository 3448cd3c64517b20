"""The table of labelers: who can answer in a simulation.

To add one: a function `build(labeling, dataset, seed, skipped) -> Labeler`, and one row below. The configuration, the
command line and the contract test take it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats
from labelwise.data.dataset import Dataset
from labelwise.data.joined import Joined, column_of, read_columns, read_joined
from labelwise.data.labels import codes_of, finder, numbered
from labelwise.errors import InputError, nearest
from labelwise.labelers import Labeler, Oracle
from labelwise.labelers.annotators import Annotators, of_people, with_confusion, with_errors
from labelwise.parts import Labeling


@dataclass(frozen=True)
class LabelerInfo:
    """One row of LABELERS. needs, takes: the keys of `labeler` that it must be given, and those that it can be given;

    build: (configuration, data, seed, whether unreadable images may be left out) -> who answers.
    """

    name: str
    summary: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    build: Callable[[Labeling, Dataset, int, bool], Labeler]


def _oracle(_: Labeling, dataset: Dataset, __: int, ___: bool) -> Labeler:
    return Oracle(dataset.labels)


def _error(labeling: Labeling, dataset: Dataset, seed: int, _: bool) -> Labeler:
    assert labeling.rate is not None
    labels = with_errors(dataset.labels, len(dataset.classes), labeling.rate, labeling.overlap, seed)
    return Annotators(labels, labeling.overlap)


def _confusion(labeling: Labeling, dataset: Dataset, seed: int, _: bool) -> Labeler:
    matrix = _matrix(labeling, dataset.classes)
    return Annotators(with_confusion(dataset.labels, matrix, labeling.overlap, seed), labeling.overlap)


def _file(labeling: Labeling, dataset: Dataset, seed: int, skipped: bool) -> Labeler:
    joined = read_joined(labeling.path, dataset, skipped, text=labeling.columns)
    columns = np.stack([_classes(joined, name, dataset.classes) for name in labeling.columns])
    labels = np.full(len(dataset.images), -1)
    order = np.argsort(joined.indices)  # the order of a file's rows must not change the draws
    labels[joined.indices[order]] = of_people(columns[:, order], labeling.overlap, seed)
    return Annotators(labels, labeling.overlap)


LABELERS: tuple[LabelerInfo, ...] = (
    LabelerInfo("truth", "the true label, always", (), (), _oracle),
    LabelerInfo("error", "wrong with a given probability, uniformly over the other classes",
                ("rate",), ("overlap",), _error),
    LabelerInfo("confusion", "answers by a confusion matrix: a row a true class, a column an answer",
                (), ("matrix", "path", "overlap"), _confusion),
    LabelerInfo("file", "people's labels from a CSV, Parquet or NumPy file, a column an annotator",
                ("path", "columns"), ("overlap",), _file),
)  # fmt: skip


def check_labeler(labeling: Labeling) -> str | None:
    """Return what is wrong with a labeler's configuration, in words, or None. Files are not read."""
    row = next((row for row in LABELERS if row.name == labeling.kind), None)
    if row is None:
        return f"'{labeling.kind}' is not a labeler{nearest(labeling.kind, [row.name for row in LABELERS])}"
    default = Labeling()
    given = {key for key in Labeling.model_fields if getattr(labeling, key) != getattr(default, key)} - {"kind"}
    if missing := [key for key in row.needs if key not in given]:
        return f"{row.name} needs {' and '.join(missing)}"
    if unused := sorted(given - {*row.needs, *row.takes}):
        return f"{row.name} has no {' or '.join(unused)}"
    people = len(set(labeling.columns))
    for wrong, problem in (
        (row.name == "confusion" and bool(labeling.matrix) == bool(labeling.path), "needs either a matrix or a path"),
        (people < len(labeling.columns), "has a column twice; an annotator answers once"),
        (row.name == "file" and labeling.overlap > people,
         f"of {people} columns (annotators) cannot have an overlap of {labeling.overlap}"),
    ):  # fmt: skip
        if wrong:
            return f"{row.name} {problem}"
    return None


def build_labeler(labeling: Labeling, dataset: Dataset, seed: int, skipped: bool) -> Labeler:
    """Build who answers in a run. Errors: InputError for files that do not fit."""
    if problem := check_labeler(labeling):
        raise InputError(f"labeler: {problem}")
    return next(row for row in LABELERS if row.name == labeling.kind).build(labeling, dataset, seed, skipped)


def labeler_key(labeling: Labeling) -> str:
    """Return what stands for the content of the file that a labeler reads, or nothing. Errors: InputError."""
    return read_columns(labeling.path)[2] if labeling.path else ""


def _classes(joined: Joined, name: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return a column's answers as classes (n,): class names, or numbers 0..K-1 where no class is named by a number."""
    values = joined.values(name, "of labels")
    codes = codes_of(values, classes)
    if (codes < 0).any():
        bad = [str(value) for value in values[codes < 0]]
        give = (
            f"a number means the class of that name ({', '.join(classes[:4])}, ...), and no place in their order"
            if numbered(classes) else f"give class names or whole numbers from 0 to {len(classes) - 1}"
        )  # fmt: skip
        raise InputError(
            f"{joined.path}: {len(bad):,} values of the column '{name}' are no class: {', '.join(map(repr, bad[:3]))}; "
            f"{give}"
        )
    return codes


def _matrix(labeling: Labeling, classes: tuple[str, ...]) -> Floats:
    """Return the (K, K) matrix, rows summing to 1. Errors: InputError for another shape or values."""
    where = labeling.path or "labeler.matrix"
    if labeling.path:
        path, columns, _ = read_columns(labeling.path, ("class", "true"))
        answers = [column_of(path, columns, name, "of answers for the class") for name in classes]
        named = next((columns[name] for name in ("class", "true") if name in columns and name not in classes), None)
        if named is not None and list(map(finder(classes), map(str, named))) != list(range(len(classes))):
            raise InputError(f"{path}: its rows are not the classes in their order: {', '.join(classes)}")
        rows = [list(row) for row in zip(*answers, strict=True)]
    else:
        rows = [list(row) for row in labeling.matrix]
    if len(rows) != len(classes) or any(len(row) != len(classes) for row in rows):
        raise InputError(f"{where}: a matrix of {len(classes)} rows and columns is needed, one a class")
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{where}: holds something that is no number") from None
    for name, row in zip(classes, matrix, strict=True):
        if not np.isfinite(row).all() or row.min() < 0 or not math.isclose(row.sum(), 1, abs_tol=1e-3):
            raise InputError(f"{where}: the row of '{name}' must hold shares of its answers that sum to 1")
    return matrix

"""A table's rows, once its columns are known: which side each is on, which class it has, and which are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.config import Study
from labelwise.data import sides
from labelwise.data.labels import plain, read_labels
from labelwise.errors import InputError
from labelwise.parts import Sides


class Column(NamedTuple):
    """A column's distinct values, and (n,) which of them each row has."""

    values: Sequence[Any]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """kept: (N,) numbers of the rows that are used; classes: K names; labels: (N,) 0..K-1; test: (N,) bool, or None

    without a test side; unused, notes: as in a Listing.
    """

    kept: Indices
    classes: tuple[str, ...]
    labels: Labels
    test: NDArray[np.bool_] | None
    unused: dict[str, int]
    notes: tuple[str, ...]


def read_rows(
    where: str, study: Study, label: Column, split: Column | None, place: Callable[[int], str],
    declared: Sequence[str] | None = None, test: NDArray[np.bool_] | None = None, by_parts: bool = False,
) -> Rows:  # fmt: skip
    """Read the labels of a table, and the sides: `test`, (n,) bool, as its parts say, or else by its split column.

    place(row): what to call a row in errors; declared: see `read_labels`; by_parts: names in `study.split` are those of
    parts (files, splits of the hub), else values of the column. Errors: InputError for what is not clear.
    """
    kept, unused, notes = np.arange(len(label.codes)), dict[str, int](), tuple[str, ...]()
    named = isinstance(study.split, Sides)
    if named and not by_parts and split is None:
        raise InputError(f"{where}: split: names sides, but no column says them; name it: --set columns.split=NAME")
    if split is not None and study.split != "none" and not (named and by_parts):
        kept, by_column, unused, notes = _sides(where, study, split, test)
        test = by_column if test is None or study.columns.split else test
    used, codes = np.unique(label.codes[kept], return_inverse=True)
    found = read_labels([label.values[i] for i in used.tolist()], codes, where, study.columns.minus_one,
                        lambda i: place(int(kept[i])), declared)  # fmt: skip
    labelled = found.labels >= 0
    kept, labels, notes = kept[labelled], found.labels[labelled], (*notes, *found.notes)
    if test is not None:
        test = test[kept]
        if not test.any() or test.all():
            side = "training" if test.all() else "test"
            if test.all() and len(test):
                raise InputError(f"{where}: no image of the {side} set has a label; learning needs some")
            notes, test = (*notes, f"no image of the {side} set has a label: one is set apart"), None
    return Rows(kept, found.names, labels, test, unused, notes)


def _sides(
    where: str, study: Study, split: Column, test: NDArray[np.bool_] | None
) -> tuple[Indices, NDArray[np.bool_] | None, dict[str, int], tuple[str, ...]]:  # fmt: skip
    """Return by the split column: the rows that are used, (n,) which are test, what is not used, and notes."""
    names = ["" if value is None else plain(str(value)) for value in split.values]
    whole = np.arange(len(split.codes))
    if test is not None and not study.columns.split:  # the files say it already
        _refuse_disagreement(where, names, split.codes, test)
        return whole, None, {}, ()
    if study.split == "auto" and "" in names and len(set(names)) > 1:
        empty = int((np.array(names)[split.codes] == "").sum())
        raise InputError(
            f"{where}: {empty:,} of {len(whole):,} images have nothing in the column of the split; fill it in, or "
            "leave the column out of account with --set split=none"
        )
    found = sides.choose(names, study.split, f"{where}, column of the split", every=True)
    unused = {
        f"images of the split {name} ({why})": int(np.isin(split.codes, _places(names, (name,))).sum())
        for name, why in found.unused.items()
    }
    used = np.isin(split.codes, _places(names, (*found.train, *found.test)))
    test = np.isin(split.codes, _places(names, found.test)) if found.test else None
    return whole[used], test, unused, found.notes


def _places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(names) if name in wanted]


def _refuse_disagreement(
    where: str, names: Sequence[str], codes: NDArray[np.int64], test: NDArray[np.bool_]
) -> None:  # fmt: skip
    """Refuse a column that clearly says other sides than the files; one that says nothing clear says nothing."""
    for side, on_test in (("train", True), ("test", False)):
        said = np.array([sides.read(name).clear and sides.side_of(name) == side for name in names], dtype=bool)
        if (said[codes] & (test == on_test)).any():
            raise InputError(
                f"{where}: by the column of the split, images of the {'test' if on_test else 'training'} files are "
                f"{side}; rename the files, or go by the column: --set columns.split=NAME with the files in one part"
            )

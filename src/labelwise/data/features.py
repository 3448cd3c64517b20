"""People's own features: embeddings that were made elsewhere, with labels as a source, or joined to images by path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.config import Study, digest
from labelwise.data.columns import unused as not_used
from labelwise.data.dataset import Dataset, Listing
from labelwise.data.feature_files import (
    CLASSES,
    GROUPS,
    LABELS,
    NAMES,
    SPLITS,
    FeatureFile,
    open_file,
    readable,
)
from labelwise.data.images import Progress, unseen
from labelwise.data.labels import Classes, distinct, finder, numbered, read_labels
from labelwise.data.meant import finder_of
from labelwise.data.sides import Split, choose
from labelwise.data.vectors import Vectors
from labelwise.errors import InputError


def load(path: Path, study: Study) -> Listing:
    """List a file of features with labels: a source of its own, without images. Errors: InputError."""
    file = open_file(str(path))
    named = study.columns
    roles = {
        "label": file.column("label", LABELS, named.label), "image": file.column("image", NAMES, named.image),
        "group": file.column("group", GROUPS, named.group), "split": file.column("split", SPLITS, named.split),
    }  # fmt: skip
    if not roles["label"]:
        has = ", ".join((file.embeddings, *file.columns))
        raise InputError(f"{path}: no labels (looked for {', '.join(LABELS)}); it has {has}: add a label a row")
    with readable(path):
        found = file.open(unseen)
    rows = len(found.values)
    columns = {role: file.values(name) for role, name in roles.items() if name and role != "label"}
    labels = file.values(roles["label"])
    _check_lengths(file, rows, {roles[role]: values for role, values in {**columns, "label": labels}.items()})
    names = _names(file, columns.get("image"), rows)
    classes = _classes(file, labels, names, named.minus_one)
    keep, test, notes = classes.labels >= 0, None, classes.notes
    unused: dict[str, int] = {}
    if "split" in columns:
        keep, test, more, unused = _sides(file, columns["split"], study.split, keep)
        notes = (*notes, *more)
    elif not isinstance(study.split, str):
        raise InputError(f"{path}: split: names sides, and the file has no column split; add one, or leave split: out")
    kept = np.flatnonzero(keep)
    groups = ["" if value is None else str(value) for value in columns["group"]] if "group" in columns else None
    found = found.part(kept)
    if test is not None:
        test = test[kept]
    return Listing(
        str(path), classes.names, classes.labels[kept], _taken(names, kept), test,
        None if groups is None else _taken(groups, kept), vectors=found, kind="features without images",
        unused={**not_used((*file.columns, *file.lists), roles.values()), **unused},
        notes=(*notes, *found.notes, "the data are features, without images"),
    )  # fmt: skip


def _taken(values: Sequence[str], kept: Indices) -> Sequence[str]:
    return values if len(kept) == len(values) else [values[i] for i in kept.tolist()]


def _check_lengths(file: FeatureFile, rows: int, columns: dict[str, list[Any]]) -> None:
    for name, values in columns.items():
        if len(values) != rows:
            raise InputError(
                f"{file.path}: {name} has {len(values):,} values and {file.embeddings} has {rows:,} rows; one a row is "
                "needed"
            )


def _names(file: FeatureFile, values: list[Any] | None, rows: int) -> list[str]:
    """Return what to call each row. Errors: InputError for names that are missing or stand there twice."""
    if values is None:
        return [f"row {i}" for i in range(rows)]
    names = ["" if value is None else str(value) for value in values]
    if missing := sum(not name for name in names):
        raise InputError(f"{file.path}: {missing:,} of {rows:,} rows have no name; name all of them, or none")
    if len(set(names)) < rows:
        once: set[str] = set()
        twice = [name for name in names if name in once or once.add(name)]  # type: ignore[func-returns-value]
        shown = ", ".join(twice[:3]) + (", ..." if len(twice) > 3 else "")
        raise InputError(f"{file.path}: {len(twice):,} rows have the name of another one: {shown}; give each its own")
    return names


def _classes(file: FeatureFile, labels: list[Any], names: Sequence[str], minus_one: str) -> Classes:
    """Return the classes of the rows: text, whole numbers that are names, or places in the declared names."""
    found, codes = distinct(labels)
    declared = file.classes or None
    text = any(isinstance(value, str) for value in found)
    if declared and len(set(declared)) < len(declared):
        raise InputError(f"{file.path}: a name stands twice in {CLASSES}; give each class its own")
    if declared and (text or numbered(declared)):  # a number is a name where names are numbers
        place = finder(declared)
        missing = [value for value in found if value is not None and str(value) != "-1" and place(str(value)) < 0]
        if missing:
            raise InputError(
                f"{file.path}: {len(missing):,} labels are none of its classes: {', '.join(map(repr, missing[:3]))}; "
                f"the classes are {', '.join(declared[:10])}"
            )
        found = [value if value is None else place(str(value)) for value in found]
    return read_labels(found, codes, str(file.path), minus_one, names.__getitem__, declared)


def _sides(
    file: FeatureFile, values: list[Any], split: Split, keep: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None, tuple[str, ...], dict[str, int]]:
    """Return which rows are kept, which of all are the test set (None: there is none), notes, and what is not used."""
    found, codes = distinct(["" if value is None else str(value) for value in values])
    if split == "auto" and "" in found and len(found) > 1:
        missing = int((codes == found.index("")).sum())
        raise InputError(f"{file.path}: {missing:,} rows have no split; say train or test, or set split=none")
    chosen = choose(found, split, str(file.path), every=True)
    counts = np.bincount(codes, minlength=len(found))
    unused = {f"rows of {name} ({why})": int(counts[found.index(name)]) for name, why in chosen.unused.items()}
    is_used = np.array([name in (*chosen.train, *chosen.test) for name in found])
    is_test = np.array([name in chosen.test for name in found])
    return keep & is_used[codes], is_test[codes] if chosen.test else None, chosen.notes, unused


@dataclass(frozen=True)
class Unlabelled:
    """Rows of which not all have a label. labels: (N,) text, "" for none; groups: (N,) or None; test: (N,) bool."""

    names: Sequence[str]
    vectors: Vectors
    labels: Sequence[str]
    classes: tuple[str, ...]
    groups: Sequence[str] | None
    test: NDArray[np.bool_]
    notes: tuple[str, ...]


def unlabelled(path: Path, progress: Progress) -> Unlabelled:
    """Read a file of features whose labels may be missing, for picking what to label next. Errors: InputError."""
    file = open_file(str(path))
    roles = {"image": file.column("image", NAMES), "label": file.column("label", LABELS),
             "group": file.column("group", GROUPS), "split": file.column("split", SPLITS)}  # fmt: skip
    with readable(path):
        found = file.open(progress)
    rows = len(found.values)
    columns = {role: file.values(name) for role, name in roles.items() if name}
    _check_lengths(file, rows, {roles[role]: values for role, values in columns.items()})
    names = _names(file, columns.get("image"), rows)
    test, notes = np.zeros(rows, bool), found.notes
    if "split" in columns:
        keep, is_test, more, _ = _sides(file, columns["split"], "auto", np.ones(rows, bool))
        test, notes = ~keep if is_test is None else is_test | ~keep, (*notes, *more)
    labels, classes = [""] * rows, file.classes
    if "label" in columns:
        given = [i for i, value in enumerate(columns["label"]) if value is not None and str(value).strip()]
        if given:
            read = _classes(file, [columns["label"][i] for i in given], [names[i] for i in given], "unlabelled")
            classes, notes = read.names, (*notes, *read.notes)
            for i, k in zip(given, read.labels.tolist(), strict=True):
                labels[i] = classes[k] if k >= 0 else ""
    groups = ["" if value is None else str(value) for value in columns["group"]] if "group" in columns else None
    return Unlabelled(names, found, labels, classes, groups, test, notes)


def with_features(dataset: Dataset, study: Study, progress: Progress) -> Dataset:
    """Return a data set of images with the features of a file, joined by path: they take the backbone's place.

    Errors: InputError where images have no row, and where the data have features already.
    """
    if dataset.features is not None:
        raise InputError("features: the data are features already; leave the key out")
    file = open_file(study.features)
    names = file.column("image", NAMES)
    if not names:
        has = ", ".join((file.embeddings, *file.columns))
        raise InputError(f"{file.path}: no column path, by which rows are joined to images; it has {has}")
    with readable(file.path):
        found = file.open(progress)
    paths = file.values(names)
    _check_lengths(file, len(found.values), {names: paths})
    named = _names(file, paths, len(paths))
    meant = finder_of(dataset.source, dataset.images.names).find_all(named, str(file.path))
    of = np.array([meant[name].index for name in named], np.int64)
    places = np.full(len(dataset.images), -1, np.int64)
    places[of[of >= 0]] = np.flatnonzero(of >= 0)
    missing = np.flatnonzero(places < 0)
    if len(missing):
        shown = ", ".join(dataset.images.names[i] for i in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{file.path}: {len(missing):,} of {len(places):,} images have no row: {shown}; its first row is of "
            f"{named[0]}"
        )
    notes = [f"embeddings were read from the file {file.path.name}, {found.values.shape[1]:,} numbers an image"]
    if extra := int((of < 0).sum()):
        notes.append(f"{extra:,} rows of {file.path.name} are of no image of the data, and are not used")
    found = found.part(places)
    notes += found.notes
    return replace(
        dataset, features=found.values, fingerprint=digest(dataset.fingerprint, found.fingerprint),
        notes=(*dataset.notes, *notes), seen=replace(dataset.seen, notes=(*dataset.seen.notes, *notes)),
    )  # fmt: skip

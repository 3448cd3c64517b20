"""Files that say something of each image (probabilities, people's labels), joined to a data set's images."""

from __future__ import annotations

import csv
import hashlib
import os
import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.data.dataset import Dataset
from labelwise.data.exported import COLUMNS as OWN
from labelwise.data.labels import finder, plain
from labelwise.data.meant import finder_of
from labelwise.errors import InputError
from labelwise.spreadsheets import unguarded

KEYS = ("path", "index")
"""Columns that say which image a row is of: its name in the data set (see `meant`), or its dataset index."""
SUFFIXES = (".csv", ".parquet", ".npz")


@dataclass(frozen=True)
class Joined:
    """A file's rows. indices: (n,) the dataset index of each; columns: name -> (n,) values; key: of its content."""

    path: Path
    indices: Indices
    columns: dict[str, NDArray[Any]]
    key: str

    def values(self, name: str, what: str) -> NDArray[Any]:
        """Return one column. Errors: InputError where there is none."""
        return column_of(self.path, self.columns, name, what)


def column_of(path: Path, columns: dict[str, NDArray[Any]], name: str, what: str) -> NDArray[Any]:
    """Return one of a file's columns, whatever spaces or Unicode form its name has. Errors: InputError for none."""
    names = list(columns)
    place = finder(names)(name)
    if place < 0:
        has = ", ".join(names[:20]) or "none"
        raise InputError(f"{path}: no column {what} '{name}'; it has {has}")
    return columns[names[place]]


def read_columns(name: str, text: Collection[str] = ()) -> tuple[Path, dict[str, NDArray[Any]], str]:
    """Return a file's path, its columns of one value a row, and what stands for its content. Errors: InputError.

    text: columns that a CSV file holds as text, so that a class 001 does not become 1; `path` is one in any case.
    """
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: not a file of columns; give one of {', '.join(SUFFIXES)}")
    try:
        key = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        readers: dict[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
            ".csv": lambda path: _csv(path, text), ".parquet": _parquet, ".npz": _npz,
        }  # fmt: skip
        columns = readers[path.suffix.lower()](path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from None
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:  # pandas', pyarrow's and NumPy's own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read: {reason}; make it again") from None
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"{path}: its columns have different lengths ({', '.join(map(str, sorted(lengths)))})")
    if not lengths or lengths == {0}:
        raise InputError(f"{path}: has no rows")
    if {"path", "label", *OWN} <= columns.keys():
        raise InputError(
            f"{path}: an export of labelwise, a row an answer; here a row an image is needed, with a column a class or "
            "an annotator"
        )
    return path, columns, key


def read_joined(name: str, dataset: Dataset, skipped: bool, text: Collection[str] = ()) -> Joined:
    """Read a CSV, Parquet or NumPy file and join its rows to images: by `path`, by `index`, or else in order.

    In order: a row an image of the training split, or of the whole data set, as the source has them. skipped:
    images may have been left out, so that numbers of rows mean nothing. Every pool image must be there.
    Errors: InputError of one line for rows that are missing, double, or of no image.
    """
    path, columns, key = read_columns(name, text)
    by = next((column for column in KEYS if column in columns), "")
    if by != "path" and skipped:
        raise InputError(
            f"{path}: where images may be left out (skip_unreadable, columns.minus_one), rows are joined by the name "
            "of the image: add a column path"
        )
    rows = len(next(iter(columns.values())))
    if by == "path":
        indices = by_path(path, columns, dataset.images.names, dataset.source)
    elif by == "index":
        indices = _numbers(path, columns["index"], len(dataset.images))
        _refuse_doubles(path, indices, dataset.images.names)
    else:
        indices = _in_order(path, rows, dataset)
    missing = np.setdiff1d(dataset.pool, indices)
    _refuse(path, [str(dataset.images.names[i]) for i in missing], f"of {len(dataset.pool):,} pool images have no row")
    return Joined(path, indices, {k: v for k, v in columns.items() if k != by}, key)


def by_path(path: Path, columns: dict[str, NDArray[Any]], names: Sequence[str], source: str) -> Indices:
    """Return the place among `names` of each row's `path`: see `meant`. source: the folder of the images, if it is one.

    Errors: InputError for rows of none of them, of several, and doubles.
    """
    given = [str(value) for value in columns["path"]]
    meant = finder_of(source, names).find_all(given, str(path))
    indices = np.array([meant[name].index for name in given], dtype=np.int64)
    _refuse(path, [given[i] for i in np.flatnonzero(indices < 0)], "are of no image of the data")
    _refuse_doubles(path, indices, names)
    return indices


def _refuse_doubles(path: Path, indices: Indices, names: Sequence[str]) -> None:
    values, counts = np.unique(indices, return_counts=True)
    _refuse(path, [str(names[i]) for i in values[counts > 1]], "stand there more than once")


def _in_order(path: Path, rows: int, dataset: Dataset) -> Indices:
    total, pool = len(dataset.images), len(dataset.pool)
    if rows == total:
        return np.arange(total)
    if rows == pool and np.array_equal(dataset.pool, np.arange(pool)):
        return dataset.pool
    raise InputError(
        f"{path}: {rows:,} rows for {pool:,} pool images (with the test set {total:,}); give a row an image in the "
        "source's order, or a column index or path"
    )


def _numbers(path: Path, values: NDArray[Any], total: int) -> Indices:
    try:
        exact = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{path}: the column index holds something that is no number") from None
    wrong = ~np.isfinite(exact) | (exact != np.floor(exact)) | (exact < 0) | (exact >= total)
    _refuse(path, [str(value) for value in values[wrong]], f"are no dataset index (0 to {total - 1:,})")
    return exact.astype(np.int64)


def _refuse(path: Path, names: Sequence[str], what: str) -> None:
    """Raise InputError if there are any such rows; the first of them are named."""
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise InputError(f"{path}: {len(names):,} {what}: {shown}")


def _csv(path: Path, text: Collection[str]) -> dict[str, NDArray[Any]]:
    import pandas as pd

    with path.open(newline="", encoding="utf-8-sig") as file:
        header = [plain(unguarded(name)) for name in next(csv.reader(file), [])]
    if len(set(header)) < len(header) or "" in header:  # pandas would rename the second one
        raise ValueError("a column without a name, or two of one name")
    wanted = {"path", *map(plain, text)}
    as_text = {i: str for i, name in enumerate(header) if name in wanted}
    frame = pd.read_csv(path, keep_default_na=False, encoding="utf-8-sig", header=0, names=range(len(header)),
                        dtype=as_text, index_col=False)  # fmt: skip
    columns = {name: frame[i].to_numpy() for i, name in enumerate(header)}
    return {name: _unguarded(values) if values.dtype == object else values for name, values in columns.items()}


def _unguarded(values: NDArray[Any]) -> NDArray[Any]:
    """Take the guard against spreadsheets from a column's texts."""
    plain_ = np.empty(len(values), dtype=object)
    plain_[:] = [unguarded(value) if isinstance(value, str) else value for value in values.tolist()]
    return plain_


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)  # pyarrow's errors are ValueErrors
    nested = (pa.types.is_nested, pa.types.is_binary)
    flat = [field.name for field in table.schema if not any(is_(field.type) for is_ in nested)]
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in flat}


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as found:
        if isinstance(found, np.ndarray):
            raise ValueError("a single array, not named ones")
        arrays = {name: found[name] for name in found.files}
    return {name: array for name, array in arrays.items() if array.ndim == 1}

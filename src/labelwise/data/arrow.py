"""Splits that the library `datasets` has read, as Arrow tables: from their columns to a listing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.arrays import Indices
from labelwise.config import Study, digest
from labelwise.data.columns import Chosen, NoColumnError, choose
from labelwise.data.dataset import Listing
from labelwise.data.missing import extension, report
from labelwise.data.rows import Column, read_rows
from labelwise.data.sides import Chosen as ChosenParts
from labelwise.errors import InputError


def datasets() -> Any:
    """Return the library `datasets`, silenced: what goes wrong is said once, by us."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets


def listing(
    source: str, splits: Any, chosen: ChosenParts, key: str, beside: Path | None, study: Study, by_parts: bool
) -> Listing:  # fmt: skip
    """List the chosen splits. beside: the only folder in which paths that stand in for images are looked up;

    by_parts: see `read_rows`. Errors: InputError for columns and labels that are not clear.
    """
    used = [*chosen.train, *chosen.test]
    parts = [splits[name] for name in used]
    columns, feature = _columns(source, used, parts, study)
    start = np.cumsum([0, *map(len, parts)])

    def place(row: int) -> str:
        part = int(np.searchsorted(start, row, side="right")) - 1
        return f"{used[part]} {row - start[part]}"

    rows = read_rows(
        source, study, _distinct(source, parts, columns.label, feature),
        _distinct(source, parts, columns.split) if columns.split else None, place, getattr(feature, "names", None),
        np.repeat([name in chosen.test for name in used], np.diff(start)) if chosen.test else None,
        by_parts,
    )  # fmt: skip
    kept, folder = rows.kept, beside and beside / os.path.expanduser(study.columns.folder)
    read = _reader(source, parts, columns.image, folder, extension(study.columns))
    missing = _missing(source, parts, columns.image, kept, beside, study) if beside else ()
    return Listing(
        source, rows.classes, rows.labels, [place(row) for row in kept.tolist()], rows.test,
        _groups(source, parts, columns.group, kept), blob=lambda index: read(int(kept[index])),
        key=digest(key, columns.image, str(folder), study.columns.extension, hashlib.sha256(kept.data).hexdigest()),
        unused={**columns.unused, **rows.unused}, notes=(*chosen.notes, *columns.notes, *rows.notes, *missing),
    )  # fmt: skip


def _columns(source: str, used: list[str], parts: list[Any], study: Study) -> tuple[Chosen, Any]:
    """Return the columns, and what the library knows of the label's. Errors: InputError, also for unlike parts."""
    features, library = parts[0].features, datasets()
    try:
        columns = choose(
            source, list(features), study.columns,
            [name for name, feature in features.items() if isinstance(feature, library.Image)],
            [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)],
        )  # fmt: skip
    except NoColumnError as error:
        if error.role != "image" or not source.endswith(".parquet"):
            raise
        hint = "features without images need a column 'embedding', a list of numbers a row"
        raise InputError(f"{error}; {hint}") from None
    for name, part in zip(used[1:], parts[1:], strict=True):
        if missing := [column for column in (columns.image, columns.label) if column not in part.features]:
            raise InputError(f"{source}: the {name} split lacks the column '{missing[0]}' of {used[0]}")
        if part.features[columns.label] != features[columns.label]:
            raise InputError(f"{source}: classes differ between train and test; give both the same names, in order")
        for role in ("group", "split"):
            if (column := getattr(columns, role)) and column not in part.features:
                if getattr(study.columns, role):
                    raise InputError(f"{source}: the {name} split lacks the column '{column}' of {used[0]}")
                columns = replace(columns, unused={**columns.unused, f"columns of {used[0]} alone ({column})": 1})
                columns = replace(columns, group="") if role == "group" else replace(columns, split="")
    return columns, features[columns.label]


def _distinct(source: str, parts: list[Any], name: str, feature: Any = None) -> Column:
    """Return a column of all parts. Errors: InputError for one that holds more than one value a row."""
    import pyarrow as pa

    chunks = [chunk for part in parts for chunk in part.data.column(name).chunks]
    if not chunks:
        return Column([], np.empty(0, np.int64))
    if pa.types.is_nested(chunks[0].type):
        what = f"labels are {feature}" if feature else f"the column '{name}' holds {chunks[0].type}"
        raise InputError(f"{source}: {what}; they must be text or whole numbers, one an image")
    if feature is None:  # text whatever it is; a part without any is of no type
        chunks = [chunk.cast(pa.large_string()) for chunk in chunks]
    encoded = pa.chunked_array(chunks).dictionary_encode().unify_dictionaries()
    values = encoded.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.fill_null(len(values)).to_numpy() for chunk in encoded.chunks])
    return Column([*values, *([None] if (codes == len(values)).any() else [])], codes.astype(np.int64))


def _groups(source: str, parts: list[Any], name: str, kept: Indices) -> list[str] | None:
    if not name:
        return None
    found = _distinct(source, parts, name)
    names = ["" if value is None else str(value) for value in found.values]
    return [names[k] for k in found.codes[kept].tolist()]


def _missing(
    source: str, parts: list[Any], image: str, kept: Indices, beside: Path, study: Study
) -> tuple[str, ...]:  # fmt: skip
    """Return a note on images that a table only names, and that are not there. Errors: InputError, see `report`."""
    import pyarrow as pa

    columns = [part.data.column(image) for part in parts]
    if not all(pa.types.is_string(column.type) for column in columns):
        return ()
    names = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).take(kept).to_pylist()
    folder, ending = os.path.expanduser(study.columns.folder), extension(study.columns)
    looked_for = [os.path.join(folder, (name or "") + ending) for name in names]
    lost = [i for i, name in enumerate(looked_for) if names[i] and not os.path.isfile(os.path.join(beside, name))]
    if not lost:
        return ()
    return report(source, beside, study, [names[i] for i in lost], [looked_for[i] for i in lost], len(names))


def _reader(
    source: str, parts: list[Any], image: str, beside: Path | None, ending: str
) -> Callable[[int], bytes]:  # fmt: skip
    import pyarrow as pa

    columns = [part.data.column(image) for part in parts]
    starts = np.cumsum([0, *map(len, columns)])
    kind = columns[0].type
    if not (pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            or pa.types.is_string(kind)):  # fmt: skip
        raise InputError(f"{source}: the column '{image}' holds {kind}; it must hold encoded images (JPEG, PNG, ...)")

    def blob(index: int) -> bytes:
        part = int(np.searchsorted(starts, index, side="right")) - 1
        value: Any = columns[part][index - int(starts[part])].as_py()
        path = value
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if isinstance(value, bytes):
            return value
        return _beside(path + ending, beside) if path else b""

    return blob


def _beside(name: str, folder: Path | None) -> bytes:
    """Read an image that a table only names; of a file from elsewhere, only what lies in its own folder."""
    path = Path(name) if folder is None else folder / name
    if folder is not None and not path.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"the table names {name}, which is not in its folder")
    return path.read_bytes()

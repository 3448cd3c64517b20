"""A CSV file of images and labels: a row an image, by the name of its file."""

from __future__ import annotations

import csv
import errno
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.config import Study, digest
from labelwise.data.columns import Chosen, NoColumnError, choose
from labelwise.data.dataset import Listing
from labelwise.data.missing import extension, option, place_of_files, report
from labelwise.data.rows import Column, read_rows
from labelwise.errors import InputError, printable
from labelwise.parts import Columns

SEPARATORS = {"": ",", ",": ",", ";": ";", "tab": "\t"}
SAMPLE = 20
"""Rows that are looked at to say which column names the images."""


@dataclass
class _Table:
    """The columns that are used. lines: where each row ends; labels, splits: number of each row's value, and values."""

    columns: Chosen
    paths: list[str] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("q"))
    labels: tuple[dict[str, int], array[int]] = field(default_factory=lambda: ({}, array("q")))
    splits: tuple[dict[str, int], array[int]] = field(default_factory=lambda: ({}, array("q")))
    groups: list[str] = field(default_factory=list)
    empty: int = 0

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"


def from_csv(path: Path, study: Study) -> Listing:
    """List the images of a CSV file: columns path and label, maybe group and split, or those that the study names.

    Paths are relative to the file, or to `columns.folder` in its folder. Errors: InputError with line numbers; files
    that are not there are said all at once, or left out with `skip_unreadable`.
    """
    table = _read(path, study.columns)
    label, split = (Column(list(values), np.asarray(codes)) for values, codes in (table.labels, table.splits))
    rows = read_rows(str(path), study, label, split if table.columns.split else None, table.place)
    names = _names(path, study.columns, table, rows.kept)
    stamps = _stamps(path.parent, names)
    missing = frozenset(np.flatnonzero([stamp is None for stamp in stamps]).tolist())
    unused = {**table.columns.unused, **rows.unused}
    if table.empty:
        unused["rows with nothing in them"] = table.empty
    notes = (*table.columns.notes, *rows.notes)
    if missing:
        lost = sorted(missing)
        places = [f"{names[i]} ({table.place(int(rows.kept[i]))})" for i in lost]
        raw = [table.paths[int(rows.kept[i])] for i in lost]
        notes += report(str(path), path.parent, study, raw, places, len(names))

    def blob(index: int) -> bytes:
        if index in missing:  # or something that is no file: a pipe would be waited for
            raise FileNotFoundError(errno.ENOENT, "there is no such file", names[index])
        return (path.parent / names[index]).read_bytes()

    shown = [printable(name) for name in names]
    key = (f"{name}:{stamp or 'missing'}" for name, stamp in zip(shown, stamps, strict=True))
    return Listing(
        str(path), rows.classes, rows.labels, shown, rows.test,
        [table.groups[row] for row in rows.kept.tolist()] if table.columns.group else None,
        blob=blob, key=digest(printable(str(path.parent.resolve())), *key), kind="CSV file",
        unused=unused, notes=notes,
    )  # fmt: skip


@contextmanager
def _opened(path: Path, keys: Columns) -> Iterator[Any]:
    """Yield a reader of a file's rows. Errors: InputError for what is no CSV file in UTF-8."""
    if keys.separator not in SEPARATORS:
        raise InputError(f"columns.separator: '{keys.separator}' is none; write ',' or ';' or tab")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file, delimiter=SEPARATORS[keys.separator], strict=True)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: broken CSV: {error}; mend it or save it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give the path of a CSV file") from None


def _read(path: Path, keys: Columns) -> _Table:
    """Read the columns that are used, a row at a time: other columns, however many, cost no memory."""
    with _opened(path, keys) as reader:
        header = [name.strip() for name in next(filter(None, reader), [])]
        _check_header(path, header)
        try:
            table = _Table(choose(str(path), header, keys))
        except NoColumnError as error:
            raise _hinted(path, keys, header, list(islice(filter(None, reader), SAMPLE)), error) from None
        places = [header.index(name) if name else None for name in
                  (table.columns.image, table.columns.label, table.columns.group, table.columns.split)]  # fmt: skip
        wide = _take(reader, table, len(header), places)
    if wide:
        lines = _lines(wide)
        raise InputError(
            f"{path}: {len(wide):,} rows have more cells than the {len(header)} columns ({lines}); "
            "put cells that hold the separator into quotes"
        )
    return table


def _take(reader: Any, table: _Table, width: int, places: Sequence[int | None]) -> list[int]:
    """Fill the table; return the lines of rows with too many cells."""
    image, label, group, split = places
    assert image is not None
    assert label is not None
    known: dict[str, str] = {}  # one string for equal groups
    wide = []
    for row in filter(None, reader):  # an empty line is no row
        if len(row) != width:
            if len(row) > width:
                wide.append(reader.line_num)
                continue
            row.extend([""] * (width - len(row)))
        name = row[image].strip()
        if not name and not any(map(str.strip, row)):
            table.empty += 1
            continue
        table.paths.append(name)
        table.lines.append(reader.line_num)
        for place, (values, codes) in ((label, table.labels), (split, table.splits)):
            if place is not None:
                codes.append(values.setdefault(row[place], len(values)))
        if group is not None:
            scene = row[group].strip()
            table.groups.append(known.setdefault(scene, scene))
    return wide


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise InputError(f"{path}: an empty file; write path,label[,group][,split] in the first line")
    if len(header) == 1:
        for sign, said, name in ((";", "semicolons", ";"), ("\t", "tabs", "tab"), (",", "commas", ",")):
            if sign in header[0]:
                raise InputError(f"{path}: its columns are separated by {said}: --set 'columns.separator=\"{name}\"'")


def _hinted(path: Path, keys: Columns, header: list[str], rows: list[list[str]], error: NoColumnError) -> InputError:
    """Return the error for a column that is not certain, with all the keys where one column alone names files."""
    if error.role != "image":
        return error
    found = []
    for i, name in enumerate(header[:SAMPLE]):
        cells = [row[i].strip() for row in rows if i < len(row) and row[i].strip()]
        place, count = place_of_files(path.parent, cells)
        if cells and count == len(cells) and name:
            found.append({"image": name, **place})
    if len(found) != 1:
        return error
    image, others = found[0]["image"], [name for name in header if name and name != found[0]["image"]]
    try:
        choose(str(path), header, keys.model_copy(update={"image": image}))
    except NoColumnError:
        if len(others) == 1:
            found[0]["label"] = others[0]
    except InputError:
        pass  # said next
    return InputError(
        f"{path}: no column is called path; the column '{image}' names the images: {option(keys, found[0])}"
    )


def _names(path: Path, keys: Columns, table: _Table, kept: NDArray[np.int64]) -> list[str]:
    """Return the names of the files, relative to the CSV file's folder. Errors: InputError for none, and doubles."""
    folder, ending = os.path.expanduser(keys.folder), extension(keys)
    rows = kept.tolist()
    if empty := [row for row in rows if not table.paths[row] or "\0" in table.paths[row]]:
        raise InputError(
            f"{path}: {len(empty):,} rows name no image in the column '{table.columns.image}' "
            f"({_lines([table.lines[row] for row in empty])}); name one or remove the row"
        )
    start = os.path.join(folder, "")  # or "", which is an absolute path's start as well
    named = (table.paths[row] + ending for row in rows)
    names = [os.path.normpath(name if os.path.isabs(name) else start + name) for name in named]
    for i, name in enumerate(names):
        if os.path.isabs(name):
            names[i] = os.path.relpath(name, path.parent)
    first: dict[str, int] = {}
    double = [i for i, name in enumerate(names) if first.setdefault(name, i) != i]
    if double:
        shown = ", ".join(f"{names[i]} in {table.place(rows[first[names[i]]])} and {table.lines[rows[i]]}"
                          for i in double[:3])  # fmt: skip
        raise InputError(f"{path}: {len(double):,} images stand there twice, and an image has one label: {shown}")
    return names


def _stamps(root: Path, names: Sequence[str]) -> list[str | None]:
    """Return what stands for each file's content (size and times), or None where there is no such file."""
    start = os.path.join(root, "")
    return [_stamp(start + name) for name in names]


def _stamp(path: str) -> str | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}" if stat.S_ISREG(found.st_mode) else None


def _lines(lines: Sequence[int]) -> str:
    return f"line {', '.join(map(str, lines[:3]))}{', ...' if len(lines) > 3 else ''}"

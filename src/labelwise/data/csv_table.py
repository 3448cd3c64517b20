"""A CSV file's rows, a row at a time: the columns that are used, and of other columns, however many, nothing."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.data import exported
from labelwise.data.columns import Chosen, NoColumnError, choose
from labelwise.data.missing import option, place_of_files
from labelwise.data.rows import Column
from labelwise.errors import InputError, printable
from labelwise.parts import Columns
from labelwise.spreadsheets import undone, unguarded

SEPARATORS = {"": ",", ",": ",", ";": ";", "tab": "\t"}
SAMPLE = 20
"""Rows that are looked at to say which column names the images."""


@dataclass
class Texts:
    """A column of few different texts: which of them each row has."""

    values: dict[str, int] = field(default_factory=dict)
    codes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, text: str) -> None:
        self.codes.append(self.values.setdefault(text, len(self.values)))

    def column(self) -> Column:
        """Return the column, without the guard against spreadsheets."""
        return Column([unguarded(value) for value in self.values], np.asarray(self.codes, np.int64))

    def texts(self) -> list[str]:
        """Return each row's text, without the guard against spreadsheets."""
        values = [unguarded(value) for value in self.values]
        return [values[code] for code in self.codes]


@dataclass
class Table:
    """The columns that are used, as they are written. header: all names; lines: where each row ends; empty: rows with

    nothing in them; extra: what an export of labelwise says beside, by the columns' names; empty for other tables.
    """

    header: list[str]
    columns: Chosen
    paths: list[str] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("q"))
    labels: Texts = field(default_factory=Texts)
    splits: Texts = field(default_factory=Texts)
    groups: Texts = field(default_factory=Texts)
    extra: dict[str, Texts] = field(default_factory=dict)
    empty: int = 0

    def place(self, row: int) -> str:
        """Return what to call a row in messages."""
        return f"line {self.lines[row]}"

    def names(self) -> list[str]:
        """Return the names of the images, without the guard against spreadsheets."""
        return [unguarded(path) for path in self.paths]

    def undone(self) -> list[str]:
        """Return a note on guards that were taken away, or nothing."""
        return undone([*self.labels.values, *self.splits.values, *self.groups.values, *self.paths])


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


def read_table(path: Path, keys: Columns) -> Table:
    """Read a CSV file. Errors: InputError with line numbers, and the keys that settle what is not clear."""
    with _opened(path, keys) as reader:
        header = [unguarded(name.strip()) for name in next(filter(None, reader), [])]
        _check_header(path, header)
        try:
            table = Table(header, choose(str(path), header, keys))
        except NoColumnError as error:
            raise _hinted(path, keys, header, list(islice(filter(None, reader), SAMPLE)), error) from None
        _check_truth(path, table, keys)
        places = [header.index(name) if name else None for name in
                  (table.columns.image, table.columns.label, table.columns.group, table.columns.split)]  # fmt: skip
        wide = _take(reader, table, len(header), places)
    if wide:
        lines = listed_lines(wide)
        raise InputError(
            f"{path}: {len(wide):,} rows have more cells than the {len(header)} columns ({lines}); "
            "put cells that hold the separator into quotes"
        )
    return table


def _take(reader: Any, table: Table, width: int, places: Sequence[int | None]) -> list[int]:
    """Fill the table; return the lines of rows with too many cells."""
    image, label, group, split = places
    assert image is not None
    assert label is not None
    texts = [(label, table.labels), (split, table.splits), (group, table.groups)]
    texts += [(table.header.index(name), extra) for name, extra in table.extra.items()]
    used = [(place, column) for place, column in texts if place is not None]
    wide = []
    for row in filter(None, reader):  # an empty line is no row
        if len(row) != width:
            if len(row) > width:
                wide.append(reader.line_num)
                continue
            row.extend([""] * (width - len(row)))
        if not row[image].strip() and not any(map(str.strip, row)):
            table.empty += 1
            continue
        table.paths.append(row[image])
        table.lines.append(reader.line_num)
        for place, column in used:
            column.add(row[place])
    return wide


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise InputError(f"{path}: an empty file; write path,label[,group][,split] in the first line")
    if len(header) == 1:
        for sign, said, name in ((";", "semicolons", ";"), ("\t", "tabs", "tab"), (",", "commas", ",")):
            if sign in header[0]:
                raise InputError(f"{path}: its columns are separated by {said}: --set 'columns.separator=\"{name}\"'")


def _check_truth(path: Path, table: Table, keys: Columns) -> None:
    """Prepare for an export of labelwise, and refuse labels that a model gave. Errors: InputError."""
    if (table.columns.image, table.columns.label) != ("path", "label"):
        return
    if "status" in table.header:
        table.extra = {name: Texts() for name in exported.COLUMNS if name in table.header}
    elif exported.PREDICTED in table.header and not keys.label:
        raise InputError(
            f"{path}: the column '{exported.PREDICTED}' says that a model gave these labels, as predict and pick print "
            "them; if they are the truth, say so: --set columns.label=label"
        )


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
    place = {key: value for key, value in found[0].items() if key != "image"}
    if place_of_files(path.parent, [image]) == (place, 1):  # the option would lose this image
        return InputError(
            f"{path}: the first line names an image, '{printable(image)[:200]}', where names of columns are needed; "
            "write such a line before it: path,label[,group][,split]"
        )
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


def listed_lines(lines: Sequence[int]) -> str:
    """Return some lines' numbers for a message."""
    return f"line {', '.join(map(str, lines[:3]))}{', ...' if len(lines) > 3 else ''}"

"""A CSV file of images and labels: a row an image, by the name of its file, or labelwise's own export of answers."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.config import Study, digest
from labelwise.data import exported
from labelwise.data.columns import unused
from labelwise.data.csv_table import Table, listed_lines, read_table
from labelwise.data.dataset import Listing
from labelwise.data.decode import UnreadableImageError
from labelwise.data.missing import extension, report
from labelwise.data.rows import Column, read_rows
from labelwise.errors import InputError, printable
from labelwise.parts import Columns


@dataclass(frozen=True)
class Images:
    """What a table says of n images. rows: (n,) their rows; paths: as written; hashes: of their content, "" or a

    SHA-256 each; classes: the names that the labels' numbers mean, if they are numbers; test: (n,) bool or None.
    """

    rows: Indices
    paths: Sequence[str]
    label: Column
    split: Column | None
    groups: Sequence[str] | None
    hashes: Sequence[str]
    unused: dict[str, int]
    notes: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    test: NDArray[np.bool_] | None = None


def from_csv(path: Path, study: Study) -> Listing:
    """List the images of a CSV file: columns path and label, maybe group and split, or those that the study names.

    Paths are relative to the file, or to `columns.folder` in its folder. Errors: InputError with line numbers; files
    that are not there are said all at once, or left out with `skip_unreadable`.
    """
    table = read_table(path, study.columns)
    images = images_of(path, table)

    def place(image: int) -> str:
        return table.place(int(images.rows[image]))

    rows = read_rows(str(path), study, images.label, images.split, place, images.classes, images.test)
    kept = rows.kept.tolist()
    names = _names(path, study.columns, images, table, kept)
    hashes = [images.hashes[i] for i in kept]
    stamps = _stamps(path.parent, names)
    missing = frozenset(np.flatnonzero([stamp is None for stamp in stamps]).tolist())
    notes = (*table.columns.notes, *images.notes, *rows.notes, *table.undone())
    if missing:
        lost = sorted(missing)
        places = [f"{names[i]} ({place(kept[i])})" for i in lost]
        notes += report(str(path), path.parent, study, [images.paths[kept[i]] for i in lost], places, len(names))

    def blob(index: int) -> bytes:
        if index in missing:  # or something that is no file: a pipe would be waited for
            raise FileNotFoundError(errno.ENOENT, "there is no such file", names[index])
        content = (path.parent / names[index]).read_bytes()
        if hashes[index] and hashlib.sha256(content).hexdigest() != hashes[index]:
            raise UnreadableImageError("the file was changed since it was labelled: its sha256 is another one")
        return content

    shown = [printable(name) for name in names]
    key = (f"{name}:{stamp or 'missing'}{sha256}" for name, stamp, sha256 in zip(shown, stamps, hashes, strict=True))
    return Listing(
        str(path), rows.classes, rows.labels, shown, rows.test,
        None if images.groups is None else [images.groups[i] for i in kept],
        blob=blob, key=digest(printable(str(path.parent.resolve())), *key), kind="CSV file",
        unused={**images.unused, **rows.unused, "rows with nothing in them": table.empty}, notes=notes,
    )  # fmt: skip


def images_of(path: Path, table: Table) -> Images:
    """Return the images of a table: each row is one, or those of an export that have a label."""
    label, names, columns = table.labels.column(), table.names(), table.columns
    rows, hashes = np.arange(len(names)), [""] * len(names)
    split = table.splits.column() if columns.split else None
    groups = [group.strip() for group in table.groups.texts()] if columns.group else None
    extra = {name: found.texts() for name, found in table.extra.items()}
    said = {name: extra.get(name, hashes) for name in exported.COLUMNS}
    labels = [label.values[code].strip() for code in label.codes.tolist()] if extra else []
    answers = exported.Answers(names, labels, said["status"], said["source"], said["annotator"])
    if {*exported.COLUMNS} <= extra.keys() and not answers.ours:
        exported.refuse_strange(str(path), answers, table.lines)
    if not answers.ours:  # spaces around a name are nobody's intention but in our own file
        return Images(rows, [name.strip() for name in names], label, split, groups, hashes, columns.unused, ())
    settled = exported.settle(str(path), answers, table.lines)
    rows = settled.rows
    used = (columns.image, columns.label, columns.group, columns.split, *extra)
    return Images(
        rows, [names[row] for row in rows.tolist()],
        Column(settled.places([text.strip() for text in label.values]), label.codes[rows]),
        None if split is None else Column(split.values, split.codes[rows]),
        None if groups is None else [groups[row] for row in rows.tolist()],
        [said["sha256"][row].lower() for row in rows.tolist()],
        {**unused(table.header, used), **settled.unused}, settled.notes, settled.classes,
        settled.test if split is None else None,
    )  # fmt: skip


def _names(path: Path, keys: Columns, images: Images, table: Table, kept: Sequence[int]) -> list[str]:
    """Return the names of the files, relative to the CSV file's folder. Errors: InputError for none, and doubles."""
    folder, ending = os.path.expanduser(keys.folder), extension(keys)
    lines = [table.lines[row] for row in images.rows[kept].tolist()]
    raw = [images.paths[i] for i in kept]
    if empty := [i for i, name in enumerate(raw) if not name or "\0" in name]:
        raise InputError(
            f"{path}: {len(empty):,} rows name no image in the column '{table.columns.image}' "
            f"({listed_lines([lines[i] for i in empty])}); name one or remove the row"
        )
    start = os.path.join(folder, "")  # or "", which is an absolute path's start as well
    named = (name + ending for name in raw)
    names = [os.path.normpath(name if os.path.isabs(name) else start + name) for name in named]
    for i, name in enumerate(names):
        if os.path.isabs(name):
            names[i] = os.path.relpath(name, path.parent)
    first: dict[str, int] = {}
    double = [i for i, name in enumerate(names) if first.setdefault(name, i) != i]
    if double:
        shown = ", ".join(f"{names[i]} in line {lines[first[names[i]]]} and {lines[i]}" for i in double[:3])
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

"""People's own images: a folder with one folder a class, or a CSV of paths and labels."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelwise.config import Study, digest
from labelwise.data.dataset import Listing
from labelwise.data.decode import EXTENSIONS, REFUSED
from labelwise.errors import InputError, nearest, printable

VALIDATION = frozenset({"val", "valid", "validation", "dev"})


@dataclass
class _Found:
    """Files of class folders, in order: whole paths and groups; and what was passed over, for a note."""

    paths: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)


def from_folder(root: Path, study: Study) -> Listing:
    """List `root/class/...` or `root/train/class/...` with `root/test/class/...`.

    Class names are the folders' names, sorted; a folder that holds nothing on any side is no class. Folders inside a
    class folder are groups (scenes): whole groups stay on one side of a split. Errors: InputError for no class folders,
    ones without images, or splits with different classes.
    """
    sides, unused = _sides(root)
    per_side = [{folder.name for folder in _folders(side)} for side in sides]
    if only := per_side[0] ^ per_side[-1]:
        places = (f"'{name}' is in {'train' if name in per_side[0] else 'test'} only" for name in sorted(only))
        raise InputError(f"{root}: classes differ between train and test: {', '.join(places)}; give both the same")
    empty = [n for n in sorted(per_side[0]) if not any(os.listdir(side / n) for side in sides)]
    classes = tuple(sorted(per_side[0].difference(empty)))
    if not classes:
        raise InputError(f"{root}: no class folders; put the images of each class into a folder named after it")
    if len(classes) == 1 and _folders(sides[0] / classes[0]):
        raise InputError(f"{root}: a single class folder, {classes[0]}; if it holds the class folders, give its path")
    found, labels, test = _Found(), list[int](), list[bool]()
    for side in sides:
        for k, name in enumerate(classes):
            before = len(found.paths)
            _walk(side / name, found)
            if len(found.paths) == before:
                raise InputError(f"{side / name}: the class folder has no images; add some or remove the folder")
            labels += [k] * (len(found.paths) - before)
            test += [side is not sides[0]] * (len(found.paths) - before)
        loose = sum(_is_picture(name) and not name.startswith(".") for name in os.listdir(side))
        found.others["images beside the class folders"] += loose
    names = [os.path.relpath(path, root) for path in found.paths]
    notes = [f"folders that are not used: {', '.join(unused)}"] if unused else []
    notes += [f"class folders that hold nothing, left out: {', '.join(empty)}"] if empty else []
    return _listing(root, found.paths, names, classes, labels, np.array(test) if len(sides) == 2 else None,
                    found.groups, (*notes, *_notes(found, root)))  # fmt: skip


def _sides(root: Path) -> tuple[list[Path], list[str]]:
    """Return the folder(s) with class folders, [all] or [train, test], and the folders that are not used."""
    below = _folders(root)
    splits = {folder.name.lower(): folder for folder in below}
    train, test = splits.get("train"), splits.get("test")
    if train and test and _folders(train) and _folders(test):
        return [train, test], [folder.name for folder in below if folder not in (train, test)]
    if len(below) == 1 and (single := train or test):
        return [single], []
    if train and splits.keys() <= {"train", *VALIDATION}:
        other = next(folder.name for folder in below if folder != train)
        raise InputError(
            f"{root}: there is {train.name}/ and {other}/ but no test/; rename {other} to test if it is to be the test "
            f"set, or give {train} alone and a share of it is set apart"
        )
    return [root], []


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS | REFUSED


def _walk(folder: Path, found: _Found) -> None:
    """Add the pictures of a class folder, and of the folders in it, sorted. Links to folders are not followed."""
    paths: list[str] = []
    for here, folders, files in os.walk(folder, onerror=_fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.links += [path for name in folders if os.path.islink(path := os.path.join(here, name))]
        for name in sorted(files):
            path = os.path.join(here, name)
            if name.startswith(".") or not (os.path.isfile(path) or os.path.islink(path)):
                continue  # hidden, or no file at all: reading a pipe would wait for ever
            if _is_picture(name):
                paths.append(path)
            else:
                found.others[f"files of other kinds ({os.path.splitext(name)[1] or 'no extension'})"] += 1
    parents = [os.path.dirname(path) for path in paths]
    one = len(set(parents)) == 1  # a single folder below, such as class/images, separates nothing
    found.paths += paths
    found.groups += ["" if one or parent == str(folder) else parent for parent in parents]


def _fail(error: OSError) -> None:
    raise error


def _notes(found: _Found, root: Path) -> tuple[str, ...]:
    notes = [f"{what} not used: {number}" for what, number in sorted(found.others.items()) if number]
    if found.links:
        links = ", ".join(os.path.relpath(link, root) for link in found.links[:5])
        notes.append(f"{len(found.links)} links to folders are not followed: {links}")
    return tuple(notes)


def from_csv(path: Path, study: Study) -> Listing:
    """List the images of a CSV file with a header `path,label[,group]`. Errors: InputError with the line number."""
    names: dict[str, int] = {}
    labels, groups = list[str](), list[str]()
    for line, row in _rows(path):
        name, label = row["path"], row["label"]
        if not name or not label:
            raise InputError(f"{path}, line {line}: path or label is empty; give both or remove the line")
        name = os.path.relpath(path.parent / name, path.parent)
        if not (path.parent / name).is_file():
            raise InputError(f"{path}, line {line}: there is no file {row['path']}; paths are relative to the CSV file")
        if name in names:
            raise InputError(f"{path}, line {line}: {name} stands in line {names[name]} too; an image has one label")
        names[name] = line
        labels.append(label)
        groups.append(row.get("group", ""))
    classes = tuple(sorted(set(labels)))
    codes = {name: k for k, name in enumerate(classes)}
    return _listing(path, [str(path.parent / name) for name in names], list(names), classes,
                    [codes[label] for label in labels], None, groups, ())  # fmt: skip


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file as (line number, {column: value}), all stripped."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            fields = [name.strip() for name in reader.fieldnames or []]
            for column in ("path", "label"):
                if column not in fields:
                    hint = nearest(column, fields or ["(an empty file)"])
                    raise InputError(f"{path}: no column '{column}'{hint}; write path,label[,group] in the first line")
            reader.fieldnames = fields
            return [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if key is not None})
                for row in reader
            ]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: broken CSV: {error}; mend it or save it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; give the path of a CSV file") from None


def _listing(
    root: Path, paths: list[str], names: list[str], classes: tuple[str, ...], labels: list[int],
    test: NDArray[np.bool_] | None, groups: Sequence[str], notes: tuple[str, ...],
) -> Listing:  # fmt: skip
    names = [printable(name) for name in names]
    stamps = (f"{name}:{_stamp(path)}" for name, path in zip(names, paths, strict=True))
    return Listing(
        source=str(root),
        classes=classes,
        labels=np.array(labels, dtype=np.int64),
        names=names,
        test=test,
        groups=groups,
        blob=lambda index: Path(paths[index]).read_bytes(),
        key=digest(printable(str(root.resolve())), *stamps),
        notes=notes,
    )


def _stamp(path: str) -> str:
    try:
        stat = os.stat(path)
    except OSError:  # a broken link: found unreadable later, with its name
        return "missing"
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"

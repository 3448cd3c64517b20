"""People's own images: a folder with one folder a class, or a CSV of paths and labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelwise.config import digest
from labelwise.data.dataset import Listing
from labelwise.data.decode import EXTENSIONS
from labelwise.errors import InputError, nearest

SPLITS = ("train", "test")


def from_folder(root: Path) -> Listing:
    """List `root/class/...` or `root/train/class/...` with `root/test/class/...`.

    Class names are the folders' names, sorted. Folders inside a class folder are groups (scenes): whole groups stay
    on one side of a split. Errors: InputError for no class folders, empty ones, or splits with different classes.
    """
    below = _folders(root)
    splits = {folder.name.lower(): folder for folder in below if folder.name.lower() in SPLITS}
    if len(splits) == 2 or (splits and len(below) == 1):
        sides = [(name == "test", folder) for name, folder in sorted(splits.items(), reverse=True)]
    else:
        sides = [(False, root)]
    per_side = [{folder.name for folder in _folders(side)} for _, side in sides]
    if len(per_side) == 2 and per_side[0] != per_side[1]:
        only = sorted(per_side[0] ^ per_side[1])
        raise InputError(f"{root}: classes differ between train and test: {', '.join(only)} is in one of them only")
    classes = tuple(sorted(per_side[0]))
    if not classes:
        raise InputError(f"{root}: no class folders; put the images of each class into a folder named after it")
    paths: list[Path] = []
    labels, groups, test = [], [], []
    for is_test, side in sides:
        for k, name in enumerate(classes):
            found = _images(side / name)
            if not found:
                raise InputError(f"{side / name}: the class folder has no images; add some or remove the folder")
            paths += found
            labels += [k] * len(found)
            groups += ["" if p.parent == side / name else str(p.parent) for p in found]
            test += [is_test] * len(found)
    return _listing(root, paths, [str(p.relative_to(root)) for p in paths], classes, labels,
                    np.array(test) if len(sides) == 2 else None, groups)  # fmt: skip


def from_csv(path: Path) -> Listing:
    """List the images of a CSV file with a header `path,label[,group]`. Errors: InputError with the line number."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            fields = [name.strip() for name in reader.fieldnames or []]
            for column in ("path", "label"):
                if column not in fields:
                    raise InputError(f"{path}: no column '{column}'{nearest(column, fields or ['(no header)'])}")
            rows = [{(k or "").strip(): v for k, v in row.items()} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    names: list[str] = []
    labels: list[str] = []
    for number, row in enumerate(rows, start=2):
        name, label = (row.get("path") or "").strip(), (row.get("label") or "").strip()
        if not name or not label:
            raise InputError(f"{path}, line {number}: path or label is empty; give both or remove the line")
        if not (path.parent / name).is_file():
            raise InputError(f"{path}, line {number}: there is no file {name}; paths are relative to the CSV file")
        names.append(name)
        labels.append(label)
    if len(set(names)) < len(names):
        double = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"{path}: {double} stands there twice; an image has one label")
    classes = tuple(sorted(set(labels)))
    codes = {name: k for k, name in enumerate(classes)}
    groups = [(row.get("group") or "").strip() for row in rows]
    return _listing(path, [path.parent / name for name in names], names, classes,
                    [codes[label] for label in labels], None, groups)  # fmt: skip


def _listing(
    root: Path, paths: list[Path], names: list[str], classes: tuple[str, ...], labels: list[int],
    test: np.ndarray[tuple[int], np.dtype[np.bool_]] | None, groups: Sequence[str],
) -> Listing:  # fmt: skip
    stats = [path.stat() for path in paths]
    key = digest(str(root.resolve()), *(f"{n}:{s.st_size}:{s.st_mtime_ns}" for n, s in zip(names, stats, strict=True)))
    return Listing(
        source=str(root),
        classes=classes,
        labels=np.array(labels, dtype=np.int64),
        names=names,
        test=test,
        groups=groups,
        blob=lambda index: paths[index].read_bytes(),
        key=key,
    )


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file()
                  and not p.name.startswith("."))  # fmt: skip

"""How a folder of class folders is laid out: `class`, `split/class` or `class/split`.

Which folders are splits is decided by `data/sides.py`; what is not clear is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from labelwise.data.labels import same
from labelwise.data.scan import Scan
from labelwise.data.sides import (
    Chosen,
    Reading,
    Split,
    choose,
    described,
    example,
    given,
    is_fold,
    listed,
    read,
    unclear,
)
from labelwise.errors import InputError, nearest
from labelwise.parts import Sides


@dataclass(frozen=True)
class Layout:
    """Where the images of each class lie.

    depth: 1 for `class`, 2 where splits are above or below the classes; places: (class, whether it is the test set)
    by folder of that depth; test: whether there is a test set; nested: the class folders hold folders;
    unused: names of folders that are not used, of the first level, or of the second if `below`.
    """

    depth: int
    places: Mapping[str, tuple[str, bool]]
    test: bool = False
    nested: bool = False
    unused: frozenset[str] = frozenset()
    below: bool = False
    notes: tuple[str, ...] = field(default=())

    def folder(self, path: str) -> str:
        """Return an image's class folder; of one beside them, a folder that has no place."""
        parts = path.split("/", self.depth)
        return "/".join(parts[:-1]) if len(parts) <= self.depth else "/".join(parts[: self.depth])

    def holds(self, path: str) -> bool:
        """Return whether an image lies in a class folder."""
        return self.folder(path) in self.places

    def place(self, path: str) -> tuple[str, bool]:
        """Return an image's class and whether it is of the test set."""
        return self.places[self.folder(path)]

    def why_not(self, path: str) -> str:
        """Return what an image that no class folder holds counts as."""
        parts = path.split("/")
        name = parts[self.below] if len(parts) > 1 + self.below else ""
        return f"images in {name}" if name in self.unused else "images beside the class folders"


def lay_out(root: Path, seen: Scan, split: Split) -> Layout:
    """Return the layout of a folder. Errors: InputError for names that are not clear, or classes that differ."""
    inner: dict[str, list[str]] = {folder: [] for folder in seen.folders if "/" not in folder}
    for folder in seen.folders:
        if folder.count("/") == 1:
            above, name = folder.split("/")
            inner[above].append(name)
    _check_links(root, seen)
    if isinstance(split, Sides):
        return _as_given(root, inner, split)
    if split == "none":
        return _classes_only(inner)
    folds = [name for name in inner if is_fold(name)]
    if len(folds) > 1:
        raise unclear(str(root), f"{listed(folds)} look like folds", folds[:-1], folds[-1:])
    return _with_splits(root, inner) or _splits_below(root, inner) or _with_groups(root, inner)


def _check_links(root: Path, seen: Scan) -> None:
    """Refuse links that lead out where folders of classes or splits are meant. Errors: InputError."""
    for link in seen.outside:
        if link.count("/") < 1 or all(read(name).side for name in link.split("/")[:-1]):
            raise InputError(f"{root}: {link} is a link to a folder elsewhere; put the images in there themselves")


def _classes_only(inner: Mapping[str, Sequence[str]]) -> Layout:
    return Layout(1, {name: (name, False) for name in inner}, nested=any(inner.values()))


def _with_groups(root: Path, inner: Mapping[str, Sequence[str]]) -> Layout:
    """Return the layout `class`, with a note where the folders in the class folders could be the classes.

    Errors: InputError where a name says so besides.
    """
    layout, (first, *others) = _classes_only(inner), [sorted(map(same, names)) for names in inner.values()] or [[]]
    if len(first) < 2 or not others or any(names != first for names in others):
        return layout
    if sides := {name: side for name in inner if (side := read(name).side)}:
        test = [name for name in inner if sides.get(name) == "test"] or [name for name in inner if name not in sides]
        train = [name for name in inner if name not in test]
        said = f"{listed(list(inner))} hold the same folders, and {listed(list(sides))} is named as a split"
        raise unclear(str(root), said, train, test)
    *train, last = inner
    said = f"{listed(list(inner))} are read as classes, and the folders in them, the same in each, as groups"
    return replace(layout, notes=(f"{said}; if it is the other way round, name the splits: {example(train, [last])}",))


def _as_given(root: Path, inner: Mapping[str, Sequence[str]], sides: Sides) -> Layout:
    below = sorted({name for names in inner.values() for name in names})
    named = {*sides.train, *sides.test}
    if named <= inner.keys():
        return _above(root, inner, given(list(inner), sides, str(root)))
    if named <= set(below):
        return _below(root, inner, given(below, sides, str(root)))
    missing = min(named - inner.keys())
    raise InputError(
        f"{root}: split names '{missing}', and no such folder is there{nearest(missing, [*inner, *below])}"
    )


def _with_splits(root: Path, inner: Mapping[str, Sequence[str]]) -> Layout | None:
    """Return the layout where splits hold class folders, or None where no name says so."""
    readings = {name: read(name) for name in inner}
    names = [name for name, reading in readings.items() if _says(reading, readings)]
    deep = [name for name in names if inner[name]]
    others = [name for name in inner if name not in names]
    if not names or (not deep and len(inner) == 1):
        return None
    if not deep:
        if len(names) == 1 and readings[names[0]].class_too:
            return None
        raise InputError(
            f"{root}: {listed(names)} {'are' if len(names) > 1 else 'is'} named as a split, but without class folders; "
            "put the images into folders named after the classes, or set split=none if it is a class itself"
        )
    flat = [name for name in names if name not in deep]
    if loose := [name for name in flat if readings[name].side != "validation"]:
        raise InputError(
            f"{root}: {listed(loose)} has no class folders, so its images have no labels and cannot be a split; put "
            f"them into class folders, or use the others alone with {example(deep, [])}, or set split=none"
        )
    chosen = choose(deep, "auto", str(root))
    if others and not chosen.test:
        tested = [name for name in deep if readings[name].side == "test"]
        train = [name for name in deep if name not in tested] or [name for name in others if inner[name]]
        raise unclear(str(root), f"{listed(deep)} with class folders, beside {listed(others)}", train, tested)
    notes = [*chosen.notes]
    if chosen.train == tuple(deep) and len(deep) > 1:
        notes.append(described(chosen.train, ()))
    unused = {**chosen.unused, **dict.fromkeys([*others, *flat], "")}
    return _above(root, inner, Chosen(chosen.train, chosen.test, unused, tuple(notes)))


def _says(reading: Reading, readings: Mapping[str, Reading]) -> bool:
    """Return whether a name says a split by itself, or by a word that names of both sides share."""
    sides = {other.side for other in readings.values() if other.rest == reading.rest}
    return reading.clear or (reading.side is not None and {"train", "test"} <= sides)


def _above(root: Path, inner: Mapping[str, Sequence[str]], chosen: Chosen) -> Layout:
    """Return the layout `split/class`. Errors: InputError for different classes in train and test."""
    for name in (*chosen.train, *chosen.test):
        if not inner[name]:
            raise InputError(
                f"{root}: {name} has no class folders; put its images into folders named after the classes"
            )
    sides = [{same(name) for part in parts for name in inner[part]} for parts in (chosen.train, chosen.test)]
    if chosen.test and (only := sides[0] ^ sides[1]):
        places = (f"'{name}' is in {'train' if name in sides[0] else 'test'} only" for name in sorted(only))
        raise InputError(
            f"{root}: classes differ between train and test: {', '.join(places)}; give both the same, or set "
            "split=none if these are no splits"
        )
    places_ = {
        f"{part}/{name}": (name, test)
        for test, parts in ((False, chosen.train), (True, chosen.test)) for part in parts for name in inner[part]
    }  # fmt: skip
    return Layout(2, places_, bool(chosen.test), False, frozenset(chosen.unused), notes=chosen.notes)


def _splits_below(root: Path, inner: Mapping[str, Sequence[str]]) -> Layout | None:
    """Return the layout where every class folder holds the splits, or None where no names say so."""
    below = sorted({name for names in inner.values() for name in names})
    folds = [name for name in below if is_fold(name)]
    if len(folds) > 1:
        raise unclear(str(root), f"{listed(folds)} in class folders look like folds", folds[:-1], folds[-1:])
    names = [name for name in below if read(name).clear]
    if len({read(name).side for name in names}) < 2:
        return None
    chosen = choose(names, "auto", f"{root}, in class folders")
    others = [name for name in below if name not in names]
    notes = [*chosen.notes, described(chosen.train, chosen.test) + ", in each class folder"]
    unused = {**chosen.unused, **dict.fromkeys(others, "")}
    return _below(root, inner, Chosen(chosen.train, chosen.test, unused, tuple(dict.fromkeys(notes))))


def _below(root: Path, inner: Mapping[str, Sequence[str]], chosen: Chosen) -> Layout:
    """Return the layout `class/split`. Errors: InputError for a class that lacks a side."""
    sides = [set(parts) for parts in (chosen.train, chosen.test) if parts]
    for name, folders in inner.items():
        if any(not side & set(folders) for side in sides):
            raise unclear(
                str(root), f"{name} lacks some of the splits that other class folders hold", *map(list, sides)
            )
    places = {
        f"{name}/{part}": (name, part in chosen.test)
        for name, folders in inner.items() for part in folders if part in (*chosen.train, *chosen.test)
    }  # fmt: skip
    return Layout(2, places, bool(chosen.test), True, frozenset(chosen.unused), below=True, notes=chosen.notes)

"""People's own images: a folder with one folder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from labelwise.config import Study, digest
from labelwise.data.class_names import ClassNames, read_class_names
from labelwise.data.dataset import Listing
from labelwise.data.decode import UnreadableImageError
from labelwise.data.labels import Classes, distinct, read_labels, same
from labelwise.data.layout import Layout, lay_out
from labelwise.data.scan import Found, linked_out, scan
from labelwise.errors import InputError, printable


def from_folder(root: Path, study: Study) -> Listing:
    """List `root/class/...`, or `root/train/class/...` with `root/test/class/...`, or `root/class/train/...`.

    Class names are the folders' names, sorted, or those of classes.json in its order; spellings of one name are one
    class, as in tables. A folder that holds nothing on any side is no class. Folders inside a class folder are groups
    (scenes): whole groups stay on one side of a split. Errors: InputError for no class folders,
    ones without images, splits that are not clear, or that have different classes.
    """
    given = read_class_names(root)
    seen = scan(root)
    for folder, why in sorted(seen.closed.items()):
        raise InputError(f"cannot read {root / folder}: {why}; check the path and its permissions")
    layout = lay_out(root, seen, study.split)
    unused = Counter(seen.unused)
    images = _once(root, [image for image in seen.images if layout.holds(image.path)], layout, unused)
    for image in seen.images:
        if not layout.holds(image.path):
            unused[layout.why_not(image.path)] += 1
    if given.names:  # it is used; a rare kind is counted with others
        counted = [f"files of other kinds ({kind})" for kind in (".json", "others")]
        unused[next(what for what in counted if unused[what])] -= 1
    filled, empty = _filled(root, images, layout)
    images.sort(key=lambda image: _order(image.path, *layout.place(image.path)))
    places = [layout.place(image.path) for image in images]
    found = _classes(root, given, filled, [name for name, _ in places])
    names = [printable(image.path) for image in images]

    def blob(index: int) -> bytes:
        if images[index].problem:
            raise UnreadableImageError(images[index].problem)
        return Path(root, images[index].path).read_bytes()

    return Listing(
        source=str(root),
        classes=found.names,
        labels=found.labels,
        names=names,
        test=np.array([test for _, test in places], dtype=bool) if layout.test else None,
        groups=list(_groups(images, layout)),
        blob=blob,
        key=digest(printable(str(root.resolve())), *map(_as_found, names, images)),
        kind="folder",
        unused={what: number for what, number in sorted(unused.items()) if number},
        notes=(*layout.notes, *given.notes(), *found.notes, *empty, *linked_out(seen), *_elsewhere(images)),
    )


def _once(root: Path, images: list[Found], layout: Layout, unused: Counter[str]) -> list[Found]:
    """Return each file once, of those that links list again. Errors: InputError for a file of two classes or sides."""
    if not any(image.real for image in images):
        return images
    first: dict[str, Found] = {}
    for image in sorted(images, key=lambda image: (bool(image.real), image.path)):
        other = first.setdefault(image.real or image.path, image)
        (name, test), (same_name, same_test) = layout.place(image.path), layout.place(other.path)
        if test != same_test or same(name) != same(same_name):
            raise InputError(
                f"{root}: {other.path} and {image.path} are one file, by a link, in two classes or splits; remove one"
            )
    if double := len(images) - len(first):
        unused["links to images that are listed already"] += double
    return list(first.values())


def _filled(root: Path, images: Sequence[Found], layout: Layout) -> tuple[set[str], list[str]]:
    """Return the names of class folders with images, and a note on those that hold nothing.

    A folder that holds nothing on one side alone stands for a class that has no images there. Errors: InputError for
    what gives no classes.
    """
    there = {layout.folder(image.path) for image in images}
    hollow = {folder for folder in layout.places.keys() - there if not _holds_anything(root / folder)}
    filled = {layout.places[folder][0] for folder in layout.places.keys() - hollow}
    empty = sorted({layout.places[folder][0] for folder in hollow} - filled)
    if not filled:
        hint = "put the images of each class into a folder named after it"
        if tables := sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() == ".csv"):
            hint = f"if the table {tables[0]} says them, give its path"
        raise InputError(f"{root}: no class folders; {hint}")
    if len(filled) == 1 and layout.nested:
        raise InputError(f"{root}: a single class folder, {min(filled)}; if it holds the class folders, give its path")
    for folder in sorted(layout.places.keys() - there - hollow):
        raise InputError(f"{root / folder}: the class folder has no images; add some or remove the folder")
    return filled, [f"class folders that hold nothing, left out: {', '.join(empty)}"] if empty else []


def _classes(root: Path, given: ClassNames, folders: set[str], places: Sequence[str]) -> Classes:
    """Return the classes of images, by their class folders' names. Errors: InputError for unclear names."""
    try:
        named, order = given.of(folders)
    except InputError as error:
        raise InputError(f"{root}: {error}") from None
    place = {name: k for k, name in enumerate(order)}
    values, codes = distinct(places)
    return read_labels([place[named[name]] for name in values], codes, str(root), "", str, order)


def _holds_anything(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(True for _ in entries)


def _groups(images: Sequence[Found], layout: Layout) -> Iterator[str]:
    """Yield each image's group: its folder, where a class folder has several below it, or ""."""
    parents: dict[str, set[str]] = {}
    for image in images:
        parents.setdefault(layout.folder(image.path), set()).add(os.path.dirname(image.path))
    for image in images:  # a single folder below, such as class/images, separates nothing
        folder, parent = layout.folder(image.path), os.path.dirname(image.path)
        yield "" if parent == folder or len(parents[folder]) == 1 else parent


def _elsewhere(images: Sequence[Found]) -> list[str]:
    links = sum(image.outside for image in images)
    return [f"{links:,} images are links to files outside of the folder"] if links else []


def _order(path: str, klass: str, test: bool) -> tuple[bool, str, list[tuple[bool, str]]]:
    """Return what images are sorted by: the training set first, by class, a folder's own files before its folders'."""
    *above, name = path.split("/")
    return test, klass, [*((True, folder) for folder in above), (False, name)]


def _as_found(name: str, image: Found) -> str:
    return f"{name}:missing" if image.problem else f"{name}:{image.bytes}:{image.mtime_ns}:{image.ctime_ns}"

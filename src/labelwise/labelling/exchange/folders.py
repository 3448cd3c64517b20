"""Folders by side and class, as ImageFolder readers take them: clean copies, or links to the originals."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from labelwise.data.class_names import FILE as CLASSES
from labelwise.data.class_names import NAMES
from labelwise.errors import InputError
from labelwise.labelling.exchange.job import Job
from labelwise.labelling.exchange.pictures import Labelled

UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$", re.IGNORECASE)
LONGEST = 120
"""Bytes of a name: file systems take 255, and archives and encryption less."""


def safe_name(name: str) -> str:
    """Return what every file system takes as one name: no separators, not hidden or reserved, no dots at its end."""
    text = UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip().rstrip(". ")
    while len(text.encode("utf-8", "replace")) > LONGEST:
        text = text[:-1]
    text = text.encode("utf-8", "replace").decode().strip().rstrip(". ")
    return "_" + text if not text or text.startswith((".", "-")) or RESERVED.match(text) else text


class Names:
    """Gives out safe names that differ on file systems that do not tell cases and accents' spellings apart."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, name: str, extension: str = "") -> str:
        """Return a name of its own for one that may be taken already."""
        stem = safe_name(name)
        for number in range(1, len(self.taken) + 2):
            candidate = stem + (f"~{number}" if number > 1 else "") + extension
            folded = unicodedata.normalize("NFKC", candidate).casefold()
            if folded not in self.taken:
                self.taken.add(folded)
                return candidate
        raise AssertionError("more names than were given out")


def write(job: Job, folder: Path) -> str:
    """Write train/CLASS/NAME and test/CLASS/NAME, copies without metadata; each side has a folder for every class."""
    labelled = Labelled(job.snapshot)
    folders = _class_folders(job, folder)
    names: dict[str, Names] = {}
    count = 0
    for image, klass, side, blob, extension in labelled.cleaned():
        target = _place(folder / side, folders, klass, names)
        stem = os.path.splitext(image.path)[0].replace("/", "__")
        (target / names[str(target)].take(stem, extension)).write_bytes(blob)
        count += 1
    return f"{count:,} pictures without metadata{labelled.note()}{_empty(folder, folders)}"


def write_links(job: Job, folder: Path) -> str:
    """Write the same folders with links: nothing leaves the images' folder."""
    root = os.path.realpath(job.snapshot.folder)
    folders = _class_folders(job, folder)
    names: dict[str, Names] = {}
    labelled = Labelled(job.snapshot)
    count = 0
    for image, klass, side in labelled.images():
        original = os.path.realpath(os.path.join(root, image.path))
        if os.path.commonpath([root, original]) != root or not os.path.isfile(original):
            labelled.left_out.append((image.path, "there is no such file in the folder"))
            continue
        target = _place(folder / side, folders, klass, names)
        stem, extension = os.path.splitext(image.path)
        os.symlink(os.path.join(root, image.path), target / names[str(target)].take(stem.replace("/", "__"), extension))
        count += 1
    note = labelled.note() + _empty(folder, folders)
    return f"{count:,} links to the originals, which keep their metadata: nothing was copied{note}"


def _class_folders(job: Job, folder: Path) -> dict[str, str]:
    """Return class -> folder name, and write it down, since folders can neither keep the order nor every name."""
    if not job.snapshot.board.labels:
        raise InputError("no image has a label yet; label some first, or export to csv")
    names = Names()
    folders = {name: names.take(name) for name in job.snapshot.classes}
    listed = {NAMES: [{"name": name, "folder": below} for name, below in folders.items()]}
    (folder / CLASSES).write_text(json.dumps(listed, ensure_ascii=False, indent=1), encoding="utf-8")
    return folders


def _place(side: Path, folders: dict[str, str], klass: str, names: dict[str, Names]) -> Path:
    """Return a class's folder; a side has one for every class, since readers number the folders that they find."""
    if not side.is_dir():
        for below in folders.values():
            (side / below).mkdir(parents=True)
    target = side / folders[klass]
    names.setdefault(str(target), Names())
    return target


def _empty(folder: Path, folders: dict[str, str]) -> str:
    """Return a sentence on class folders without pictures, or nothing."""
    sides = (side for side in sorted(folder.iterdir()) if side.is_dir())
    empty = [
        f"{side.name}/{below}" for side in sides for below in folders.values() if not any((side / below).iterdir())
    ]
    if not empty:
        return ""
    shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
    return f"; without pictures, there so that both sides number the classes alike (allow_empty=True): {shown}"

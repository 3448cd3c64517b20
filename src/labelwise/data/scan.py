"""The images of a folder: the one scan that studies, labelling, picking and predicting share.

Links to folders are followed where they stay inside the folder. A link to a file elsewhere is marked: a study reads
it, and a page that serves others does not. What is left out is counted, so that it can be said.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labelwise.data.decode import EXTENSIONS, REFUSED
from labelwise.errors import InputError

MADE_BY_PROGRAMS = frozenset({
    "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", ".ipynb_checkpoints", ".thumbnails", ".thumbs",
    "thumbnails",
})  # fmt: skip
"""Folders that systems and programs make: small copies, archives' shadows and waste, not images that are meant."""
NO_FILE = "no file, but a pipe, a device or a link to a folder"
KINDS = 12
"""Extensions of other files that are counted one by one."""
HEAD = 32  # bytes that tell a format


@dataclass(frozen=True, slots=True)
class Found:
    """A picture in the folder, or what looks like one by its name.

    path: below it, with `/`; real: where the file itself lies, if a link leads to it, or "": below the folder, or
    as a whole path if it is `outside`; problem: why it cannot be used, known without reading it, or "".
    """

    path: str
    bytes: int
    mtime_ns: int
    problem: str = ""
    ctime_ns: int = 0
    real: str = ""
    outside: bool = False


@dataclass(frozen=True)
class Scan:
    """What a folder holds. images: by path; folders: those that were looked into, by path, without the folder itself;

    closed: folders that cannot be read, and why; outside: links to folders elsewhere, which are not followed;
    unused: what else lies there, in words -> how many.
    """

    images: list[Found]
    folders: list[str]
    closed: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    unused: Mapping[str, int] = field(default_factory=dict)

    def distinct(self) -> Scan:
        """Return the scan with each file once: at its own place, or else at the first link to it."""
        places = {found.path for found in self.images if not found.real}
        kept: list[Found] = []
        for found in self.images:
            if not found.real:
                kept.append(found)
            elif found.real not in places:
                places.add(found.real)
                kept.append(found)
        double = len(self.images) - len(kept)
        links = {"links to images that are listed already": double} if double else {}
        return replace(self, images=kept, unused={**self.unused, **links})


def scan(root: Path, leave_out: Path | None = None) -> Scan:
    """List a folder's pictures and those of the folders in it; `leave_out` is a folder inside that is passed over.

    Pictures are known by their extension, or by their first bytes where they have none.
    Errors: InputError where `root` itself cannot be read.
    """
    walk = _Walk(os.path.realpath(root), "" if leave_out is None else os.path.realpath(leave_out))
    walk.look_into("", "")
    if why := walk.closed.get(""):
        raise InputError(f"cannot read the folder {root}: {why}")
    for path, lies in sorted(walk.links):
        walk.follow(path, lies)
    images = sorted(walk.images, key=lambda found: found.path)
    return Scan(images, sorted(walk.folders), walk.closed, walk.outside, walk.counts())


class _Walk:
    """A walk through a folder and what it has met so far. Paths are below the folder, "" for itself."""

    def __init__(self, root: str, leave_out: str) -> None:
        self.root, self.leave_out = root, leave_out
        self.images: list[Found] = []
        self.folders: list[str] = []
        self.closed: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        self.outside: list[str] = []
        self.unused: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._resolved: dict[str, str | None] = {}

    def look_into(self, path: str, real: str) -> list[tuple[str, str]]:
        """List all below a folder; `real` is where it lies itself. Return the links to folders, and where these lie."""
        todo, links = [(path, real)], list[tuple[str, str]]()
        while todo:
            below, lies = todo.pop()
            try:
                with os.scandir(os.path.join(self.root, lies)) as listed:
                    entries = list(listed)
            except OSError as error:
                self.closed[below] = error.strerror or str(error)
                continue
            if below:
                self.folders.append(below)
            for entry in entries:
                here, itself = (f"{place}/{entry.name}" if place else entry.name for place in (below, lies))
                if _is_folder(entry):
                    if self._wanted(entry):
                        if entry.is_symlink():
                            links.append((here, itself))
                        else:
                            todo.append((here, itself))
                else:
                    self._file(entry, here, itself)
        if not path:
            self.links = links
        return links

    def follow(self, link: str, lies: str) -> None:
        """List what a link to a folder leads to, and the links in there; no folder twice, so that loops end."""
        todo, been = [(link, lies, tuple[str, ...]())], set[str]()
        while todo:
            path, lies, above = todo.pop()
            real = self._inside(os.path.join(self.root, lies))
            above = (*above, os.path.dirname(lies))  # the folders that the path leads through
            if real is None:
                self.outside.append(path)
            elif not real or real in been or any(f"{folder}/".startswith(f"{real}/") for folder in above):
                self.unused["links to folders that are listed already"] += 1
            else:
                been.add(real)
                todo += [(*found, above) for found in self.look_into(path, real)]

    def _inside(self, path: str) -> str | None:
        """Return where a path really lies, below the folder, or None where it leads out."""
        if path not in self._resolved:
            real, start = os.path.realpath(path), os.path.join(self.root, "")
            inside = real.removeprefix(start) if real.startswith(start) else None
            self._resolved[path] = "" if real == self.root else inside
        return self._resolved[path]

    def _wanted(self, entry: os.DirEntry[str]) -> bool:
        if entry.name in MADE_BY_PROGRAMS:
            self.unused[f"folders named {entry.name}"] += 1
        elif entry.name.startswith("."):
            self.unused["hidden folders"] += 1
        elif not self.leave_out or os.path.realpath(entry.path) != self.leave_out:
            return True
        return False

    def _file(self, entry: os.DirEntry[str], path: str, real: str) -> None:
        if entry.name.startswith("."):
            self.unused["hidden files"] += 1
            return
        extension = os.path.splitext(entry.name)[1].lower()
        extension = "" if extension[1:].isdigit() else extension  # 1.2.840: a number, not a kind
        if extension and extension not in EXTENSIONS | REFUSED:
            self.kinds[extension] += 1
            return
        found = self._found(entry, path, real)
        if extension or (not found.problem and _is_picture(os.path.join(self.root, found.real or path))):
            self.images.append(found)
        else:
            self.kinds["no extension"] += 1

    def _found(self, entry: os.DirEntry[str], path: str, real: str) -> Found:
        try:
            status = entry.stat()
        except OSError as error:  # a broken link
            return Found(path, 0, 0, f"unreadable: {error.strerror}")
        if not stat.S_ISREG(status.st_mode):  # never opened: reading a pipe would wait for ever
            return Found(path, 0, 0, NO_FILE)
        inside = self._inside(entry.path) if entry.is_symlink() else real
        lies = os.path.realpath(entry.path) if inside is None else "" if inside == path else inside
        times = status.st_mtime_ns, status.st_ctime_ns
        return Found(path, status.st_size, times[0], "", times[1], lies, outside=inside is None)

    def counts(self) -> dict[str, int]:
        """Return what is not used, in words -> how many, with the rarer kinds of other files together."""
        unused, common = Counter(self.unused), self.kinds.most_common(KINDS)
        for kind, number in common:
            unused[f"files of other kinds ({kind})"] = number
        unused["files of other kinds (others)"] = sum(self.kinds.values()) - sum(number for _, number in common)
        unused["links to folders elsewhere"] = len(self.outside)
        return {what: number for what, number in sorted(unused.items()) if number}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; a picture's name on a link is said of a file."""
    try:
        if entry.is_symlink() and os.path.splitext(entry.name)[1].lower() in EXTENSIONS | REFUSED:
            return False
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(path: str) -> bool:
    """Return whether a file begins as one of the formats that are read."""
    try:
        with open(path, "rb") as file:
            return is_picture(file.read(HEAD))
    except OSError:
        return False


def is_picture(head: bytes) -> bool:
    """Return whether a file's first 32 bytes are those of a format that is read (decode.FORMATS)."""
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    if head.startswith(starts):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # two letters are too little: the header's own size follows
        return int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 6


def linked_out(found: Scan) -> list[str]:
    """Return a note that names some links to folders elsewhere, if there are any."""
    if not found.outside:
        return []
    shown = ", ".join(found.outside[:5]) + (" ..." if len(found.outside) > 5 else "")
    return [f"links to folders elsewhere are not followed: {shown}"]

"""Finding the images of a folder, and reading one of them: only from inside, links included."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelwise.data.decode import EXTENSIONS, MAX_BYTES, REFUSED, AwayError, UnreadableImageError
from labelwise.errors import InputError, printable
from labelwise.labelling.store import Image
from labelwise.seeds import generator

CHANGED = "the file was changed: what was said of it was of another picture"
MACOS = "__MACOSX"
"""A folder of such a name comes out of macOS's archives: it holds no pictures, though names that look so."""


@dataclass(frozen=True)
class Found:
    """A picture in the folder, or what looks like one by its name.

    path: below it, with `/`; problem: why its name alone makes it unusable, or "".
    """

    path: str
    bytes: int
    mtime_ns: int
    problem: str = ""


def check_folder(root: Path) -> None:
    """Refuse what is no folder. Errors: InputError."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give the folder that holds the images")


def scan(root: Path, leave_out: Path | None = None) -> list[Found]:
    """List a folder's pictures and those of the folders in it, sorted; hidden ones and `leave_out` are passed over.

    Links to folders are not followed; a folder inside that cannot be read is listed as a picture with a problem.
    Errors: InputError where `root` itself cannot be read.
    """
    out = "" if leave_out is None else os.path.realpath(leave_out)
    try:
        return sorted(_walk(os.path.abspath(root), "", out), key=lambda found: found.path)
    except OSError as error:
        raise InputError(f"cannot read the folder {error.filename or root}: {error.strerror or error}") from None


def _walk(root: str, below: str, leave_out: str) -> Iterator[Found]:
    try:
        with os.scandir(os.path.join(root, below)) as listed:
            entries = list(listed)
    except OSError as error:
        if not below:
            raise
        yield Found(printable(_name(below)), 0, 0, f"a folder that cannot be read: {error.strerror or error}")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == MACOS:
            continue
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if os.path.realpath(entry.path) != leave_out:
                yield from _walk(root, path, leave_out)
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS | REFUSED:
            yield _found(entry, path)


def _name(path: str) -> str:
    return path.replace(os.sep, "/")


def _found(entry: os.DirEntry[str], path: str) -> Found:
    name = _name(path)
    if printable(name) != name:
        return Found(printable(name), 0, 0, "its name holds characters that cannot be shown; rename it")
    try:
        status = entry.stat()
    except OSError as error:  # a broken link
        return Found(name, 0, 0, f"unreadable: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):  # never opened: reading a pipe would wait for ever
        return Found(name, 0, 0, "no file, but a pipe, a device or a link to a folder")
    return Found(name, status.st_size, status.st_mtime_ns)


def new_images(found: Iterable[Found], known: Iterable[str], seed: int) -> list[Image]:
    """Return the images that are not known yet, in random order with the next ids: any first n are a random sample."""
    known = set(known)
    fresh = [f for f in found if f.path not in known]
    order = generator(seed, "images", len(known)).permutation(len(fresh))
    return [
        Image(len(known) + place + 1, f.path, f.bytes, f.mtime_ns, "unreadable" if f.problem else "new", f.problem)
        for place, f in enumerate(fresh[i] for i in order.tolist())
    ]


def gone_and_back(images: Sequence[Image], found: Iterable[Found]) -> list[dict[str, object]]:
    """Return changes of status: images whose files are missing now, and missing or changed ones that are there."""
    there = {f.path: f for f in found}
    changes: list[dict[str, object]] = []
    for image in images:
        now = there.get(image.path)
        if now is None and image.status != "missing":
            changes.append({"id": image.id, "status": "missing", "reason": "the file is gone"})
        elif now is not None and (
            image.status == "missing" or (now.bytes, now.mtime_ns) != (image.bytes, image.mtime_ns)
        ):
            status = "unreadable" if now.problem else "new"
            changes.append({"id": image.id, "status": status, "reason": now.problem})
    return changes


def read_inside(root: Path, path: str) -> bytes:
    """Return a file's bytes. Errors: UnreadableImageError for one that lies outside or is too large; AwayError where it

    is not there or cannot be read at present.
    """
    base = os.path.realpath(root)
    full = os.path.realpath(os.path.join(base, path))
    if os.path.commonpath([base, full]) != base:
        raise UnreadableImageError("a link that leads out of the folder")
    try:
        if not os.path.isfile(full):
            raise AwayError("there is no such file")
        size = os.path.getsize(full)
        if size > MAX_BYTES:
            raise UnreadableImageError(f"oversized: {size / 2**20:.0f} MiB, at most {MAX_BYTES >> 20} are read")
        with open(full, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AwayError(f"unreadable: {error.strerror or error}") from None

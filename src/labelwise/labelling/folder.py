"""Finding the images of a folder, and reading one of them: only from inside, links included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from labelwise.data import scan as folders
from labelwise.data.decode import MAX_BYTES, AwayError, UnreadableImageError
from labelwise.data.scan import Found, Scan
from labelwise.errors import InputError, printable
from labelwise.labelling.store import Image
from labelwise.seeds import generator

CHANGED = "the file was changed: what was said of it was of another picture"

OUTSIDE = "a link that leads out of the folder"


def check_folder(root: Path) -> None:
    """Refuse what is no folder. Errors: InputError."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give the folder that holds the images")


def scan(root: Path, leave_out: Path | None = None) -> Scan:
    """List a folder's pictures, each file once, and those of the folders in it; `leave_out` is passed over.

    A folder inside that cannot be read is listed as a picture with a problem, and so is a name that cannot be stored.
    Errors: InputError where `root` itself cannot be read.
    """
    seen = folders.scan(root, leave_out).distinct()
    images = [_storable(found) for found in seen.images]
    images += [
        Found(printable(path), 0, 0, f"a folder that cannot be read: {why}") for path, why in seen.closed.items()
    ]
    return replace(seen, images=sorted(images, key=lambda found: found.path))


def _storable(found: Found) -> Found:
    if found.outside:  # whoever can open the page would see it
        return Found(printable(found.path), 0, 0, OUTSIDE)
    if printable(found.path) == found.path:
        return found
    return Found(printable(found.path), 0, 0, "its name holds characters that cannot be shown; rename it")


def not_used(seen: Scan) -> list[str]:
    """Say what lies in the folder and is not used, for the terminal and the page."""
    counted = ", ".join(f"{number:,} {what}" for what, number in seen.unused.items())
    return [*([f"beside the images, not used: {counted}"] if counted else []), *folders.linked_out(seen)]


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
        raise UnreadableImageError(OUTSIDE)
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

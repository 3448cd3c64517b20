"""What the cache holds, and how it is cleared: the oldest first, never what a running process uses, nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from labelwise.cache.checked import alone, warn
from labelwise.cache.where import ABANDONED, LOCKS, cache_folder
from labelwise.errors import InputError

KINDS = {
    "images": "what reading each image once found, and the pixels of small ones",
    "pixels": "images brought to the size of a backbone, for fine-tuning",
    "embeddings": "frozen embeddings, a store for each backbone",
    "tables": "copies of Parquet files",
    "features": "people's own features: what checking them found, and copies of what cannot be mapped where it lies",
    "clip": "features of zero-shot models",
}
"""The folders of the cache, and what their entries are."""
NAME = re.compile(r"[0-9a-f]{16}")
"""An entry's name. Nothing of another name is ever removed: LABELWISE_CACHE may be somebody's own folder."""
LEFT = re.compile(r"\..+\.unfinished")
"""What a killed process leaves behind."""
LIMIT = "LABELWISE_CACHE_LIMIT"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


@dataclass(frozen=True)
class Entry:
    """An entry of the cache. bytes: of its files; used: when it was opened last, in seconds since 1970."""

    kind: str
    path: Path
    bytes: int
    used: float


def entries() -> list[Entry]:
    """Return what the cache holds, the oldest first. Links are not followed."""
    found = []
    for kind in KINDS:
        for path in _folders(cache_folder() / kind):
            with contextlib.suppress(OSError):  # it was cleared by another process
                found.append(Entry(kind, path, sum(map(_size, _files(path))), path.stat().st_mtime))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def _folders(kind: Path) -> list[Path]:
    if kind.is_symlink() or not kind.is_dir():
        return []
    with contextlib.suppress(OSError):
        return [p for p in kind.iterdir() if _ours(p) and p.is_dir() and not p.is_symlink()]
    return []


def _ours(path: Path) -> bool:
    if LEFT.fullmatch(path.name):
        touched = max(p.lstat().st_mtime for p in (path, *_files(path)))
        return time.time() - touched > ABANDONED
    return NAME.fullmatch(path.name) is not None


def _files(folder: Path) -> list[Path]:
    return [Path(here) / name for here, _, names in os.walk(folder) for name in names]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


def over(found: Sequence[Entry], limit: int) -> list[Entry]:
    """Return the oldest entries, so many that the others take at most `limit` bytes."""
    left, chosen = sum(entry.bytes for entry in found), []
    for entry in sorted(found, key=lambda entry: entry.used):
        if left > limit:
            chosen.append(entry)
            left -= entry.bytes
    return chosen


def clear(chosen: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries; return those that were removed, and those that a running process uses. Errors: OSError."""
    gone: list[Entry] = []
    kept: list[Entry] = []
    for entry in chosen:
        (gone if _remove(entry.path) else kept).append(entry)
    return gone, kept


def _remove(folder: Path) -> bool:
    """Remove an entry unless it is used: its files are locked, so that nobody can open it meanwhile."""
    lock = folder.parent / LOCKS / folder.name  # of a store that is written to
    with ExitStack() as stack:
        if lock.exists():
            try:
                stack.enter_context(FileLock(lock, timeout=0))
            except Timeout:
                return False
        for path in _files(folder):
            try:
                file = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            if not alone(file):
                return False
        going = folder.with_name(
            f".{folder.name}-{os.urandom(4).hex()}.unfinished"
        )  # swept up later where this is broken off
        folder.rename(going)
        shutil.rmtree(going)
    return True


def size_in_bytes(text: str, what: str) -> int:
    """Return the bytes that `20GB`, `500M` or `1.5 TiB` means. what: its name, for the message. Errors: InputError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", text.strip().upper())
    if found is None or found[2] not in UNITS:
        raise InputError(f"{what}: {text!r} is no size; write 20GB, 500MB or 1.5TB")
    return int(float(found[1]) * UNITS[found[2]])


def keep_to_limit() -> None:
    """Where LABELWISE_CACHE_LIMIT says how large the cache may be, remove the oldest entries above it."""
    if not (limit := os.environ.get(LIMIT)):
        return
    found = entries()
    chosen = over(found, size_in_bytes(limit, LIMIT))
    try:
        clear(chosen)
    except OSError as error:  # what was asked for is there all the same
        warn(f"the cache could not be brought to {LIMIT}={limit}: {error}")

"""Where decoded images and embeddings are kept between runs, and how files get there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from labelwise.errors import InputError

T = TypeVar("T")
ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished entry is taken to be left behind by a killed process."""


def cache_folder() -> Path:
    """Return the cache: `$LABELWISE_CACHE`, or the platform's own place for caches. It can be deleted at any time."""
    return Path(os.environ.get("LABELWISE_CACHE") or platformdirs.user_cache_dir("labelwise"))


def cached(folder: Path, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """Return `load(folder)`; where there is no such entry yet, or a damaged one, `build(temporary folder)` makes it.

    The temporary folder takes the final name only when `build` is done, so a process killed in the middle, or two
    at once, leave a whole entry or none. `load` says that an entry is damaged by OSError, EOFError,
    ValueError or KeyError.
    Errors: InputError where the cache cannot be written.
    """
    if folder.is_dir():
        try:
            return load(folder)
        except (OSError, EOFError, ValueError, KeyError):
            shutil.rmtree(folder, ignore_errors=True)
    try:
        _build(folder, build)
        return load(folder)
    except BrokenPipeError:  # from drawing the progress, not from the cache
        raise
    except OSError as error:
        raise InputError(cannot_write(error)) from None


_given: dict[str, Any] = {}
_noted: ContextVar[dict[str, Any] | None] = ContextVar("_noted", default=None)


def passed_on(folder: Path, load: Callable[[], T]) -> T:
    """Return an entry that another machine gave this process, or else `load()`, noted for those who pass it on."""
    name = f"{folder.parent.name}/{folder.name}"
    if name in _given:
        given: T = _given[name]
        return given
    entry, noted = load(), _noted.get()
    if noted is not None:
        noted[name] = entry
    return entry


@contextmanager
def noting() -> Iterator[dict[str, Any]]:
    """Collect the entries that are loaded in this context: what `give` takes on another machine."""
    noted: dict[str, Any] = {}
    before = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(before)


def give(entries: dict[str, Any]) -> None:
    """Use these entries in this process, whatever its own cache holds."""
    _given.update(entries)


def cannot_write(error: OSError) -> str:
    """Say in one line why the cache cannot be written, and what to do."""
    reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return (
        f"cannot write the cache {cache_folder()}: {reason}; make room there, or set LABELWISE_CACHE to another folder"
    )


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".unfinished", dir=folder.parent))
    try:
        build(temporary)
        try:
            temporary.rename(folder)
        except OSError:  # another process was first; its entry has the same content
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what killed processes left behind long ago."""
    for left in parent.glob(".*.unfinished"):
        try:
            touched = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:  # another process was first
            continue
        if time.time() - touched > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)

"""Entries of the cache that are made once and never changed: whole or not at all, however many processes make them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from labelwise.cache.checked import seal, verify, warn
from labelwise.cache.usage import keep_to_limit
from labelwise.cache.where import ABANDONED, cannot_write
from labelwise.errors import InputError

T = TypeVar("T")


def cached(
    folder: Path,
    build: Callable[[Path], None],
    load: Callable[[Path], T],
    current: Callable[[Path], bool] = lambda _: True,
) -> T:
    """Return `load(folder)`; where there is no such entry yet, or a damaged one, `build(temporary folder)` makes it.

    The temporary folder takes the final name only when `build` is done, so a process killed in the middle, or two
    at once, leave a whole entry or none. Checksums of all files are written with it and compared before `load`. An
    entry that does not match, or on which `load` raises OSError, EOFError, ValueError or KeyError, is thrown away with
    a line; a sound one that is not `current` any more, without one.
    Errors: InputError where the cache cannot be written.
    """
    if folder.is_dir():
        try:
            verify(folder, _name(folder))
            loaded = load(folder) if current(folder) else None
        except (OSError, EOFError, ValueError, KeyError) as error:
            warn(f"the cache's entry {folder} is damaged and is made again: {error}")
            shutil.rmtree(folder, ignore_errors=True)
        else:
            if loaded is not None:
                with contextlib.suppress(OSError):  # a cache that may only be read
                    os.utime(folder)  # when it was used last: the oldest is cleared first
                return loaded
            shutil.rmtree(folder, ignore_errors=True)
    try:
        _build(folder, build)
        loaded = load(folder)
    except BrokenPipeError:  # from drawing the progress, not from the cache
        raise
    except OSError as error:
        raise InputError(cannot_write(error)) from None
    keep_to_limit()
    return loaded


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".unfinished", dir=folder.parent))
    try:
        build(temporary)
        seal(temporary, _name(folder))
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

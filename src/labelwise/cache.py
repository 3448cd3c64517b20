"""Where decoded images and embeddings are kept between runs, and how files get there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the cache: `$LABELWISE_CACHE`, or the platform's own place for caches. It can be deleted at any time."""
    return Path(os.environ.get("LABELWISE_CACHE") or platformdirs.user_cache_dir("labelwise"))


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, made by `build(temporary folder)` if it is not there yet.

    The temporary folder takes the final name only when `build` is done, so a process killed in the middle, or two
    at once, leave a whole entry or none.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        build(temporary)
        try:
            temporary.rename(folder)
        except OSError:  # another process was first; its entry has the same content
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder

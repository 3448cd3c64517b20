"""Where the cache lies, and what is said when it cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished entry is taken to be left behind by a killed process."""
LOCKS = ".locks"
"""A folder beside the entries: a lock inside one would be deleted with it while another process waits for it."""


def cache_folder() -> Path:
    """Return the cache: `$LABELWISE_CACHE`, or the platform's own place for caches. It can be deleted at any time."""
    return Path(os.environ.get("LABELWISE_CACHE") or platformdirs.user_cache_dir("labelwise"))


def cannot_write(error: OSError) -> str:
    """Say in one line why the cache cannot be written, and what to do."""
    reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return (
        f"cannot write the cache {cache_folder()}: {reason}; make room there (labelwise cache clear), or set "
        "LABELWISE_CACHE to another folder"
    )

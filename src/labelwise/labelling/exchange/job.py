"""What an export works on, and where it goes: a new folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from labelwise.errors import InputError
from labelwise.labelling.snapshot import Snapshot

if TYPE_CHECKING:
    from labelwise.labelling.exchange.trained import Trained


@dataclass(frozen=True)
class Job:
    """snapshot: what is exported; fit: trains the model on its labels, for the format that writes one, or None."""

    snapshot: Snapshot
    fit: Callable[[], Trained] | None = None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to write into; it becomes `out` at the end, and vanishes when something fails.

    Errors: InputError when `out` is there already and not empty, or cannot be written.
    """
    check_new(out)
    temporary = out.parent / f".{out.name[:100]}.{uuid4().hex}.unfinished"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        check_new(out)  # another process may have been first
        if out.is_dir():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise InputError(f"cannot write {out}: {_reason(error)}; nothing is left of it") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)


def check_new(out: Path) -> None:
    """Refuse a folder that holds something. Errors: InputError."""
    try:
        if os.path.lexists(out) and (out.is_symlink() or not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is there already; choose a new folder: nothing is ever overwritten")
    except OSError as error:
        raise InputError(f"cannot look into {out}: {_reason(error)}; choose another folder") from None


def _reason(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk is full" if full else error.strerror or str(error)

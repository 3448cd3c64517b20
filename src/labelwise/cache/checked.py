"""Checksums of entries, and locks on their files that last as long as somebody uses them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labelwise.errors import printable

SEAL = "checksums.json"
VERSION = 1
BLOCK = 8 * 2**20
"""Bytes that one checksum is of: CRC-32 runs at several GB/s a core, outside the interpreter's lock."""
DIGEST = 16  # bytes


class DamagedError(ValueError):
    """An entry of the cache is not what was written; the message says how, without its name."""


def warn(message: str) -> None:
    """Say something of the cache to people, in one line."""
    logging.getLogger("labelwise").warning("%s", printable(message))


def seal(folder: Path, name: str) -> None:
    """Write the checksums of all files in a folder. name: the entry's, so that it cannot pass for another one."""
    body = json.dumps({"version": VERSION, "entry": name, "files": {n: _checksum(folder / n) for n in _files(folder)}})
    (folder / SEAL).write_text(f"{body}\n{_digest(body.encode())}\n")


def verify(folder: Path, name: str) -> None:
    """Compare all files of an entry with its checksums. Errors: DamagedError, OSError."""
    if not (folder / SEAL).is_file():
        raise DamagedError("it has no checksums")
    body, _, digest = (folder / SEAL).read_bytes().partition(b"\n")
    if digest.strip().decode(errors="replace") != _digest(body):
        raise DamagedError(f"{SEAL} was changed")
    said = json.loads(body)
    if (said["version"], said["entry"]) != (VERSION, name):
        raise DamagedError("it is another entry's")
    for file, checksum in said["files"].items():
        if not (folder / file).is_file():
            raise DamagedError(f"{file} is missing")
        if _checksum(folder / file) != checksum:
            raise DamagedError(f"{file} does not match its checksum")


def _files(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SEAL and path.suffix != ".lock")
    return sorted(str(path.relative_to(folder)) for path in files)


def _checksum(path: Path) -> str:
    """Return what stands for a file's length and content."""
    size = path.stat().st_size

    def part(start: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(BLOCK)).to_bytes(4, "little")

    starts = range(0, size, BLOCK)
    if len(starts) < 2:
        return _digest(size.to_bytes(8, "little") + b"".join(map(part, starts)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return _digest(size.to_bytes(8, "little") + b"".join(pool.map(part, starts)))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=DIGEST).hexdigest()


def sealed(name: str, content: bytes) -> bytes:
    """Return a small file's content with its checksum before it. name: the file's own, as in `seal`."""
    return bytes.fromhex(_digest(name.encode() + b"\0" + content)) + content


def unsealed(name: str, found: bytes) -> bytes:
    """Return the content of such a file. Errors: DamagedError."""
    content = found[DIGEST:]
    if sealed(name, content) != found:
        raise DamagedError("it does not match its checksum")
    return content


def mapped(path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int = 0) -> NDArray[Any]:
    """Map a file for reading; while the array is used, `usage.clear` leaves the entry alone. Errors: OSError,

    ValueError for a file that is too short.
    """
    if 0 in shape:
        return np.empty(shape, dtype)
    with path.open("rb") as file:  # the mapping has a duplicate of the descriptor, and with it the lock
        in_use(file)
        return np.memmap(file, dtype, "r", offset, shape)


def mapped_npy(path: Path) -> NDArray[Any]:
    """Map an array that numpy saved, as `mapped` does. Errors: OSError, ValueError."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return mapped(path, dtype, shape, file.tell())


def in_use(file: IO[bytes] | int) -> None:
    """Mark an open file as used, until it and all its duplicates are closed; other users are not kept out."""
    _lock(file, lambda fcntl: fcntl.LOCK_SH)


def use(folder: Path, user: object) -> None:
    """Mark an entry as used as long as `user` lives: for files that others map."""
    file = os.open(folder / SEAL, os.O_RDONLY)
    weakref.finalize(user, os.close, file)
    in_use(file)


def alone(file: IO[bytes]) -> bool:
    """Return whether nobody else uses an open file; nobody can begin to until it is closed."""
    try:
        return _lock(file, lambda fcntl: fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False


def _lock(file: IO[bytes] | int, how: Callable[[Any], int]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows does not delete a file that is open
        return True
    try:
        fcntl.flock(file, how(fcntl))
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return True
    return True

"""One vector for each image that was ever embedded in one way: an append-only store, by the image's content.

Two files: `values.f16` has the vectors in the order in which they came, `index.bin` a record for each: the image's
SHA-256, a checksum over it, the vector and the store's own name, and the seconds it took. So a vector that is another
image's, another store's or damaged is known by itself, and is made again alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from labelwise.arrays import Indices
from labelwise.cache.checked import in_use, mapped, warn
from labelwise.cache.where import LOCKS

RECORD = np.dtype([("image", "V32"), ("check", "<u8"), ("seconds", "<f8")])
BLOCK = 4096
"""Rows at a time: bounds the memory of what is computed in passing."""
IN_MEMORY = 64 * 2**20
"""Bytes of gathered rows above which they are written to an unnamed file and mapped."""
Hashes = NDArray[np.uint8]


class Rows:
    """An open store of (n, width) float16. write: whether it may be made and added to; use as a context.

    Several processes may add at once, and one may be killed at any moment.
    """

    def __init__(self, folder: Path, width: int, write: bool = True) -> None:
        self.folder, self.width, self.write = folder, width, write
        words = (width + 1) // 2
        drawn = np.random.PCG64(0).random_raw(words + 10)  # numpy keeps these for good
        self._weights: tuple[Any, Any] = (drawn[:10] | np.uint64(1), drawn[10:] | np.uint64(1))
        name = hashlib.sha256(f"{folder.name} {width}".encode()).digest()
        self._salt = np.frombuffer(name, "<u8", 1)[0]
        self._values: IO[bytes] | None = None
        self._index: IO[bytes] | None = None

    def __enter__(self) -> Rows:
        if self.write:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock("").parent.mkdir(exist_ok=True)
        self._values = self._open(self.folder / "values.f16")
        if self._values is not None:
            self._index = self._open(self.folder / "index.bin")
            with contextlib.suppress(OSError):  # a cache that may only be read
                os.utime(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._values, self._index):
            if file is not None:
                file.close()

    def lock(self, what: str) -> Path:
        """Return the path of a lock of this store: of the store itself (""), or of work on a part of it."""
        return self.folder.parent / LOCKS / f"{self.folder.name}{what}"

    def _open(self, path: Path) -> IO[bytes] | None:
        """Open a file and mark it as used; None where it is not there and this store is not for writing."""
        while True:
            try:
                file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)), "r+b") if (
                    self.write) else path.open("rb")  # fmt: skip
            except FileNotFoundError:
                if not self.write:
                    return None
                self.folder.mkdir(parents=True, exist_ok=True)
                continue
            in_use(file)
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # it was cleared before we had it

    @property
    def count(self) -> int:
        """How many records there are, sound or not."""
        return 0 if self._index is None else os.fstat(self._index.fileno()).st_size // RECORD.itemsize

    def find(self, images: Hashes) -> tuple[Indices, NDArray[np.bool_]]:
        """Return where each image's record is (the last, or -1), and whether its row matches its checksum.

        images: (n, 32) uint8. What does not match is said in one line.
        """
        wanted, back = np.unique(_keys(images), return_inverse=True)
        found = np.full(len(wanted), -1, np.int64)
        count = self.count if len(wanted) else 0
        for start in range(0, count, BLOCK):
            records = self._records(np.arange(start, min(start + BLOCK, count)))["image"]
            places = np.minimum(np.searchsorted(wanted, records), len(wanted) - 1)
            hit = wanted[places] == records
            found[places[hit]] = start + np.flatnonzero(hit)  # of several, the last
        there = np.flatnonzero(found >= 0)
        there = there[np.argsort(found[there])]  # as they lie on disk
        sound = np.zeros(len(wanted), bool)
        for start in range(0, len(there), BLOCK):
            some = there[start : start + BLOCK]
            sound[some] = self._sound(found[some])
        if bad := len(there) - int(sound.sum()):
            warn(
                f"{bad:,} of {len(there):,} embeddings in the cache's {self.folder} do not match their checksums: they "
                "are thrown away and made again"
            )
        return found[back.ravel()], sound[back.ravel()]

    def _sound(self, rows: Indices) -> NDArray[np.bool_]:
        whole = np.zeros(len(rows), bool)
        inside = np.flatnonzero(rows < self._whole)
        records = self._records(rows[inside])
        images = np.ascontiguousarray(records["image"]).view(np.uint8).reshape(-1, 32)
        whole[inside] = self._checks(images, records["seconds"], self._rows(rows[inside])) == records["check"]
        return whole

    @property
    def _whole(self) -> int:
        """How many rows the file of values has."""
        return 0 if self._values is None else os.fstat(self._values.fileno()).st_size // (2 * self.width)

    def _records(self, rows: Indices) -> NDArray[Any]:
        if not len(rows):
            return np.empty(0, RECORD)
        return np.array(mapped(self.folder / "index.bin", RECORD, (self.count,))[rows])

    def _rows(self, rows: Indices) -> NDArray[np.float16]:
        if not len(rows):
            return np.empty((0, self.width), np.float16)
        return np.array(mapped(self.folder / "values.f16", "<f2", (self._whole, self.width))[rows])

    def _checks(self, images: Hashes, seconds: NDArray[Any], values: NDArray[np.float16]) -> NDArray[np.uint64]:
        """Return a multilinear checksum of each row: a sum of its 32-bit words by 64-bit weights. So its order counts,

        and it is computed for all rows at once.
        """
        if self.width % 2:
            values = np.concatenate([values, np.zeros((len(values), 1), np.float16)], axis=1)
        words = np.ascontiguousarray(values, "<f2").view("<u4")
        took = np.ascontiguousarray(seconds, "<f8").view("<u4").reshape(-1, 2)
        head = np.concatenate([np.ascontiguousarray(images).view("<u4"), took], axis=1)
        sums = [np.einsum("ij,j->i", part.astype(np.uint64), weights)
                for part, weights in zip((head, words), self._weights, strict=True)]  # fmt: skip
        result: NDArray[np.uint64] = sums[0] + sums[1] + self._salt
        return result

    def put(self, images: Hashes, values: NDArray[np.float16], seconds: float, slots: Indices) -> None:
        """Keep vectors, durably. images: (n, 32); values: (n, width); seconds: what each took.

        slots: (n,) rows that are damaged and take the image's new vector, or -1.
        """
        assert self._values is not None
        assert self._index is not None
        records = np.zeros(len(images), RECORD)
        records["image"], records["seconds"] = _keys(images), seconds
        records["check"] = self._checks(images, records["seconds"], values)
        values = np.ascontiguousarray(values, "<f2")
        with FileLock(self.lock("")):
            rows = self._evened()
            slots = np.where(slots < rows, slots, -1)
            slots[slots < 0] = rows + np.arange(int((slots < 0).sum()))
            # values before their records: what is killed in between leaves rows without one, or that do not match
            _write(self._values, slots, values.view(f"V{2 * self.width}").ravel())
            _write(self._index, slots, records.view(f"V{RECORD.itemsize}"))

    def _evened(self) -> int:
        """Bring both files to the same number of rows, and return it. Rows without a record stay, as dead ones: another

        process may have them mapped.
        """
        assert self._values is not None
        assert self._index is not None
        rows = max(self._whole, self.count)
        if lost := rows - min(self._whole, self.count):
            warn(f"{lost:,} embeddings in the cache's {self.folder} are not whole: they are thrown away and made again")
        for file, size in ((self._values, 2 * self.width), (self._index, RECORD.itemsize)):
            file.truncate(rows * size)
        return rows

    def gather(self, rows: Indices) -> NDArray[np.float16]:
        """Return (n, width) of these rows, -1 for a row of NaN: mapped where they follow each other, else a copy.

        A large copy lies in a file without a name, which is gone when it is not used any more.
        """
        if len(rows) and rows[0] >= 0 and np.array_equal(rows, rows[0] + np.arange(len(rows))):
            start = 2 * self.width * int(rows[0])
            return mapped(self.folder / "values.f16", "<f2", (len(rows), self.width), start)
        if 2 * self.width * len(rows) <= IN_MEMORY:
            return np.concatenate([np.empty((0, self.width), np.float16), *self._blocks(rows)])
        beside = self.folder.parent if os.access(self.folder.parent, os.W_OK) else None
        with tempfile.TemporaryFile(dir=beside, prefix=".", suffix=".unfinished") as file:
            for block in self._blocks(rows):
                file.write(block.tobytes())
            file.flush()
            return np.memmap(file, "<f2", "r", shape=(len(rows), self.width))

    def _blocks(self, rows: Indices) -> Iterator[NDArray[np.float16]]:
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            block = np.full((len(some), self.width), np.nan, np.float16)
            block[some >= 0] = self._rows(some[some >= 0])
            yield block

    def seconds(self, rows: Indices) -> float:
        """Return what computing these rows took, each counted once."""
        return float(self._records(np.unique(rows))["seconds"].sum())


def _keys(images: Hashes) -> NDArray[Any]:
    return np.ascontiguousarray(images, np.uint8).reshape(-1, 32).view("V32").ravel()


def _write(file: IO[bytes], slots: Indices, items: NDArray[Any]) -> None:
    """Write items of equal size at their slots: runs of slots at once. Never mapped: a full disk would kill Python."""
    for run in np.split(np.arange(len(slots)), np.flatnonzero(np.diff(slots) != 1) + 1):
        if len(run):
            file.seek(int(slots[run[0]]) * items.itemsize)
            file.write(items[run].tobytes())
    file.flush()
    os.fsync(file.fileno())

"""Arrays of embeddings: checked once, then mapped from disk. (N, D) may be larger than the memory.

What cannot be mapped where it lies (Parquet, compressed, whole numbers, a part of the rows) is written to the cache as
one flat file, a chunk of rows at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices
from labelwise.cache import cache_folder, cached, mapped
from labelwise.config import digest
from labelwise.data.duplicates import Pairs
from labelwise.data.images import Progress
from labelwise.errors import InputError
from labelwise.seeds import generator

LAYOUT = "1"
"""Part of the cache's keys: changes when what is stored there does."""
CHUNK = 8_192
"""Rows at a time."""
LARGEST = 1e15
"""Values above it are refused: their squares, which distances add up, are beyond float32."""
EXACT = 2**24
"""Whole numbers up to this are exact in float32."""
Chunks = Iterator[NDArray[Any]]


@dataclass(frozen=True)
class Vectors:
    """values: (N, D) float16, float32 or float64 as in the file, mapped; fingerprint: stands for all of them.

    equal: pairs of rows that hold the same values, each with the first such row; notes: what a reader must know.
    """

    values: Floats
    fingerprint: str
    equal: Pairs
    notes: tuple[str, ...] = ()

    def ids(self) -> NDArray[np.int64]:
        """Return (N,) numbers, the same for equal rows."""
        found = np.arange(len(self.values))
        found[self.equal[0]] = self.equal[1]
        return found

    def part(self, rows: Indices) -> Vectors:
        """Return these rows in this order, from a copy in the cache; all of them in order: as they are."""
        if np.array_equal(rows, np.arange(len(self.values))):
            return self
        key = digest("part", self.fingerprint, hashlib.sha256(rows.tobytes()).hexdigest())
        chunks = (np.asarray(self.values[rows[i : i + CHUNK]]) for i in range(0, len(rows), CHUNK))
        found = kept(key, lambda _: chunks, None, "", lambda *_: None)
        return Vectors(found.values, found.fingerprint, found.equal, self.notes)


def kept(
    key: str, chunks: Callable[[Path], Chunks], offset: int | None, where: str, progress: Progress,
    path: Path | None = None,
) -> Vectors:  # fmt: skip
    """Check an array once, and open it.

    key: stands for its content; chunks(folder) -> (n, D) parts of it in order, with a folder for temporary files;
    offset: where it lies in the file `path`, None: it is copied to the cache; where: what to call it in errors.
    Errors: InputError for values that are not finite or too large, and for no rows.
    """

    def build(folder: Path) -> None:
        if offset is None:
            with (folder / "values.bin").open("wb") as copy:
                found = _checked(chunks(folder), copy, where, progress)
        else:
            found = _checked(chunks(folder), None, where, progress)
        hashes, meta = found
        meta |= {"offset": offset}
        first, other = _equal_rows(_mapped(folder, path, meta), hashes)
        np.save(folder / "equal.npy", np.stack([first, other]))
        (folder / "meta.json").write_text(json.dumps(meta))

    def load(folder: Path) -> Vectors:
        meta = json.loads((folder / "meta.json").read_text())
        first, other = np.load(folder / "equal.npy")
        return Vectors(_mapped(folder, path, meta), meta["fingerprint"], (first, other), tuple(meta["notes"]))

    return cached(cache_folder() / "features" / digest(LAYOUT, key), build, load)


def _mapped(folder: Path, path: Path | None, meta: dict[str, Any]) -> Floats:
    shape, offset = tuple(meta["shape"]), meta["offset"]
    if offset is None:
        return mapped(folder / "values.bin", meta["dtype"], shape)
    assert path is not None
    if os.stat(path).st_size < offset + int(np.prod(shape)) * np.dtype(meta["dtype"]).itemsize:
        raise ValueError("cut off")
    return np.memmap(path, meta["dtype"], "r", offset, shape)


def _checked(
    chunks: Chunks, copy: BinaryIO | None, where: str, progress: Progress
) -> tuple[NDArray[np.uint64], dict[str, Any]]:
    """Look at every value once: return a hash a row (N,) and what is to be kept. Errors: InputError."""
    content, hashes, done, bad, first_bad = hashlib.sha256(), [], 0, 0, -1
    low, high, dtype, width = np.empty(0), np.empty(0), np.dtype(np.float32), 0
    for chunk in chunks:
        values = _as_floats(chunk, where)
        words = _ordered(values)
        dtype, width = values.dtype, values.shape[1]
        lowest, highest = (_back(found, dtype) for found in (words.min(axis=0), words.max(axis=0)))
        if not (np.isfinite(lowest) & np.isfinite(highest)).all():
            wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
            first_bad = first_bad if bad else done + int(wrong[0])
            bad += len(wrong)
        low, high = (np.minimum(low, lowest), np.maximum(high, highest)) if done else (lowest, highest)
        content.update(values.data)
        hashes.append(_hashes(words))
        if copy is not None:
            copy.write(values.data)
        done += len(values)
        progress("reading features", done, done)
    if not done or not width:
        raise InputError(f"{where}: has no rows" if not done else f"{where}: has rows of no numbers")
    if bad:
        raise InputError(
            f"{where}: {bad:,} of {done:,} rows hold NaN or infinite values, the first is row {first_bad} (counted "
            "from 0); mend or remove them"
        )
    shape = (done, width)
    meta = {
        "shape": shape, "dtype": dtype.newbyteorder("<").str, "notes": _hardly_vary(low, high, where),
        "fingerprint": digest(content.hexdigest(), str(shape), dtype.name),
    }  # fmt: skip
    return np.concatenate(hashes), meta


def _as_floats(chunk: NDArray[Any], where: str) -> Floats:
    """Return floats as they are, little-endian and in one piece, and whole numbers as float32. Errors: InputError."""
    if chunk.dtype.kind == "f" and chunk.dtype.itemsize <= 8:
        return np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<"))
    if chunk.dtype.kind not in "iub":
        raise InputError(f"{where}: holds {chunk.dtype}; numbers are needed (float16, float32 or float64)")
    if chunk.dtype.kind != "b" and chunk.size and max(int(chunk.max()), -int(chunk.min())) > EXACT:
        raise InputError(f"{where}: whole numbers above {EXACT:,} are not exact in float32; scale them, save as floats")
    return np.ascontiguousarray(chunk, np.float32)


def _ordered(values: Floats) -> NDArray[np.signedinteger[Any]]:
    """Return whole numbers (n, D) in the order of the floats, the same for 0.0 and -0.0: fast also for float16."""
    words: NDArray[np.signedinteger[Any]] = values.view(f"<i{values.dtype.itemsize}").copy()
    words ^= (words >> (8 * words.itemsize - 1)) & np.iinfo(words.dtype).max  # all bits but the sign of negative ones
    words += words < 0
    return words


def _back(words: NDArray[np.signedinteger[Any]], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Return the floats that whole numbers of `_ordered` stand for."""
    words = words - (words < 0)
    words ^= (words >> (8 * words.itemsize - 1)) & np.iinfo(words.dtype).max
    return words.view(dtype).astype(np.float64)


def _hardly_vary(low: NDArray[np.float64], high: NDArray[np.float64], where: str) -> list[str]:
    """Say which columns hardly vary. low, high: (D,) of each. Errors: InputError for values that are too large."""
    size = np.maximum(np.abs(low), np.abs(high))
    if (size > LARGEST).any():
        raise InputError(f"{where}: values reach {size.max():.3g} in size; scale them below {LARGEST:g}")
    hardly = np.flatnonzero((high > low) & (high - low < 1e-5 * size))
    if not len(hardly):
        return []
    named = ", ".join(map(str, hardly[:5].tolist())) + (", ..." if len(hardly) > 5 else "")
    return [
        f"{len(hardly)} columns of the features vary by less than 1/100,000 of their size, near the limits of float32 "
        f"(columns {named}): where that is meant, subtract their means first"
    ]


def _hashes(words: NDArray[np.signedinteger[Any]]) -> NDArray[np.uint64]:
    """Return 64 bits a row (n,), the same for equal rows: a random linear function of their words."""
    factors = generator(0, "rows").integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found: NDArray[np.uint64] = words.astype(np.int64).view(np.uint64) @ factors
    return found


def _equal_rows(values: Floats, hashes: NDArray[np.uint64]) -> Pairs:
    """Return pairs of equal rows: each row that stands there again, and the first such row."""
    order = np.argsort(hashes, kind="stable")
    same = np.concatenate([[False], hashes[order][1:] == hashes[order][:-1]])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    again, first = order[same], order[starts[same]]
    really = [
        (np.asarray(values[again[i : i + CHUNK]]) == np.asarray(values[first[i : i + CHUNK]])).all(axis=1)
        for i in range(0, len(again), CHUNK)
    ]
    keep = np.concatenate(really) if really else np.zeros(0, bool)
    return again[keep].astype(np.int64), first[keep].astype(np.int64)

"""Arrays of embeddings in .npz and Parquet files, read by chunks of rows; nothing is ever unpickled."""

from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.config import digest
from labelwise.data.images import Progress
from labelwise.data.vectors import CHUNK, Chunks, Vectors, kept
from labelwise.errors import InputError


def from_npz(path: Path, name: str, progress: Progress) -> Vectors:
    """Open an array of an .npz file, mapped where it lies if it is not compressed.

    Errors: InputError for what is no (N, D) array of finite numbers, or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as file:
            shape, fortran, dtype = _header(path, name, file)
            start = file.tell()
    rows_differ = f"{path}: {name} has shape {shape}; (N, D) is needed, a row of numbers each"
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{path}: {name} has no rows" if 0 in shape else rows_differ)
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise InputError(f"{path}: {name} holds {dtype}; numbers are needed (float16, float32 or float64)")
    offset = None
    if info.compress_type == zipfile.ZIP_STORED and not fortran and dtype.kind == "f" and dtype.isnative:
        offset = _place(path, info) + start

    def chunks(folder: Path) -> Chunks:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:  # reading it all checks its CRC
            file.read(start)
            if fortran:
                yield from _transposed(file, folder / "columns", shape, dtype)
                return
            for first in range(0, shape[0], CHUNK):
                count = min(CHUNK, shape[0] - first)
                content = file.read(count * shape[1] * dtype.itemsize)
                yield np.frombuffer(content, dtype).reshape(count, shape[1])
            if file.read(1):
                raise zipfile.BadZipFile("more values than its header says")

    return kept(_stamp(path, name), chunks, offset, f"{path}: {name}", progress, path)


def from_parquet(path: Path, name: str, progress: Progress) -> Vectors:
    """Open a column of lists of a Parquet file. Errors: InputError for rows that are empty or differ in length."""
    import pyarrow.parquet as pq

    def chunks(_: Path) -> Chunks:
        width, first = 0, 0
        with pq.ParquetFile(path, memory_map=True) as file:
            for batch in file.iter_batches(batch_size=CHUNK, columns=[name]):
                width = width or _width(batch.column(0))
                yield _rows(f"{path}: {name}", batch.column(0), width, first)
                first += len(batch)

    return kept(_stamp(path, name), chunks, None, f"{path}: {name}", progress)


def _stamp(path: Path, name: str) -> str:
    """Return what stands for a file's content without reading it."""
    stat = path.stat()
    return digest(str(path.resolve()), name, str(stat.st_size), str(stat.st_mtime_ns), str(stat.st_ctime_ns))


def _header(path: Path, name: str, file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise InputError(f"{path}: {name} is in version {version} of NumPy's format; save plain numbers")
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise InputError(f"{path}: {name} holds Python objects (a pickle), which are never read; save plain numbers")
    return shape, fortran, dtype


def _place(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's content begins in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        fixed = file.read(30)
    name, extra = struct.unpack("<HH", fixed[26:30])
    return info.header_offset + 30 + int(name) + int(extra)


def _transposed(file: Any, temporary: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Chunks:
    """Yield rows of an array that is stored by columns, from an unpacked copy."""
    try:
        with temporary.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        if temporary.stat().st_size != shape[0] * shape[1] * dtype.itemsize:
            raise zipfile.BadZipFile("not as many values as its header says")
        values = np.memmap(temporary, dtype, "r", shape=shape, order="F")
        for first in range(0, shape[0], CHUNK):
            yield np.ascontiguousarray(values[first : first + CHUNK])
        del values
    finally:
        temporary.unlink(missing_ok=True)


def _width(column: Any) -> int:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return int(column.type.list_size)
    lengths = column.value_lengths().drop_null()
    return int(lengths[0].as_py()) if len(lengths) else 0


def _rows(where: str, column: Any, width: int, first: int) -> NDArray[Any]:
    """Return a batch's (n, width) numbers. first: its first row's number."""
    import pyarrow as pa

    if column.null_count:
        at = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InputError(f"{where}: row {at} (counted from 0) and maybe more hold nothing; each needs {width} numbers")
    if not pa.types.is_fixed_size_list(column.type):
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != width).any():
            at = int(np.flatnonzero(lengths != width)[0])
            raise InputError(
                f"{where}: row {first + at} (counted from 0) has {lengths[at]} numbers and the first has {width}; all "
                "need as many"
            )
    values = column.flatten()
    if values.null_count:
        raise InputError(
            f"{where}: {values.null_count} numbers are missing in rows {first} to {first + len(column) - 1}"
        )
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(column), width)
    return found

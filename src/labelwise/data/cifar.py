"""CIFAR-10's official Python files: pickles, read without trusting them (`pickled`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Labels
from labelwise.data import pickled
from labelwise.data.dataset import Listing
from labelwise.errors import InputError

T = TypeVar("T")
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
FILES = (*TRAIN, "test_batch", "batches.meta")
MAX_BYTES = 64 * 2**20
"""A file above this is none of them: they have 30 MiB."""


def batches_folder(path: Path) -> Path | None:
    """Return the folder with the official files: `path` itself or its `cifar-10-batches-py`, or None."""
    for folder in (path, path / "cifar-10-batches-py"):
        if (folder / "data_batch_1").is_file() or (folder / "test_batch").is_file():
            return folder
    return None


def load(path: Path) -> Listing:
    """List the 50,000 + 10,000 images of the official files. Errors: InputError for missing or damaged files."""
    folder = batches_folder(path)
    assert folder is not None
    parts = [_read(folder / name) for name in FILES]
    try:
        classes = tuple(name.decode() for name in _list_of(bytes, parts[-1], b"label_names"))
        batches = [_batch(part, len(classes)) for part in parts[:-1]]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{folder}: not CIFAR-10's official files ({error}); fetch them again") from None
    pixels = np.concatenate([batch.pixels for batch in batches])
    names = [name for batch in batches for name in batch.names]
    if not names:
        raise InputError(f"{folder}: not CIFAR-10's official files (they hold no images); fetch them again")
    labels = np.concatenate([batch.labels for batch in batches])
    test = np.arange(len(labels)) >= len(labels) - len(batches[-1].labels)
    return Listing("cifar10 (official files)", classes, labels, names, test, pixels=pixels)


@dataclass(frozen=True)
class _Batch:
    """pixels: (n, 32, 32, 3) uint8; labels: (n,) 0..K-1; names: n of them."""

    pixels: NDArray[np.uint8]
    labels: Labels
    names: list[str]


def _batch(part: dict[bytes, Any], classes: int) -> _Batch:
    """Check one file's content. Errors: KeyError, ValueError or TypeError, which say what is wrong."""
    data, labels = part[b"data"], _list_of(int, part, b"labels")
    if not isinstance(data, np.ndarray) or data.shape[1:] != (3 * 32 * 32,):
        raise TypeError("images are no table of 3,072 bytes a row")
    names = [name.decode() for name in _list_of(bytes, part, b"filenames")]
    if not len(data) == len(labels) == len(names) or not all(0 <= label < classes for label in labels):
        raise ValueError("labels do not fit the images")
    pixels = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return _Batch(pixels, np.array(labels, np.int64), names)


def _list_of(kind: type[T], part: dict[bytes, Any], key: bytes) -> list[T]:
    values = part[key]
    if type(values) is not list or not all(type(value) is kind for value in values):
        raise TypeError(f"{key.decode()} is no list of {kind.__name__}")
    return values


def _read(path: Path) -> dict[bytes, Any]:
    try:
        if not path.is_file():
            raise InputError(f"{path}: missing; all of {', '.join(FILES)} are needed")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"{path}: {size >> 20} MiB, and CIFAR-10's official files have 30; fetch it again")
        value = pickled.loads(path.read_bytes())
    except (ValueError, IndexError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: damaged or not CIFAR-10's official file: {error}; fetch it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not CIFAR-10's official file; fetch it again")
    return value

"""CIFAR-10's official Python files, read without trusting them: pickles, but only of arrays, lists and strings."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.data.dataset import Listing
from labelwise.errors import InputError

TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
FILES = (*TRAIN, "test_batch", "batches.meta")


class _ArraysOnly(pickle.Unpickler):
    """Loads what the official files hold and refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module == "_codecs" and name == "encode":
            return _encode
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which CIFAR-10's files never do")


def _reconstruct(_kind: type, shape: tuple[int, ...], code: bytes) -> NDArray[Any]:
    """Stand in for numpy's own: an empty array, which pickle then fills."""
    return np.ndarray(shape, code.decode() if isinstance(code, bytes) else code)


def _encode(text: str, _encoding: str) -> bytes:
    """Stand in for `codecs.encode`, by which protocol 2 writes bytes."""
    return text.encode("latin-1")


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
        pixels = np.concatenate([_channels_last(part[b"data"]) for part in parts[:-1]])
        labels = np.concatenate([np.asarray(part[b"labels"], np.int64) for part in parts[:-1]])
        classes = tuple(name.decode() for name in parts[-1][b"label_names"])
        tests = len(parts[-2][b"labels"])
        names = [f.decode() for part in parts[:-1] for f in part[b"filenames"]]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: not CIFAR-10's official files ({error}); fetch them again") from None
    if not 0 < len(labels) == len(pixels) == len(names) or not 0 <= labels.min() <= labels.max() < len(classes):
        raise InputError(f"{folder}: not CIFAR-10's official files (labels do not fit the images); fetch them again")
    test = np.arange(len(labels)) >= len(labels) - tests
    return Listing("cifar10 (official files)", classes, labels, names, test, pixels=pixels)


def _channels_last(data: NDArray[Any]) -> NDArray[np.uint8]:
    if data.dtype != np.uint8:
        raise TypeError(f"images are {data.dtype}, not uint8")
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _read(path: Path) -> dict[bytes, Any]:
    try:
        value = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; all of {', '.join(FILES)} are needed") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{path}: damaged or not CIFAR-10's official file: {error}; fetch it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not CIFAR-10's official file; fetch it again")
    return value

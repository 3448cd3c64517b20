"""Files of people's own features, read and written: NumPy's .npz with an array each, or Parquet with a column each."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats
from labelwise.data import vector_files
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.data.vectors import CHUNK, Vectors
from labelwise.errors import InputError, nearest

EMBEDDINGS = ("embeddings", "embedding")
NAMES = ("path", "names", "name")
LABELS = ("label", "labels", "class", "target", "y")
GROUPS = ("group", "groups")
SPLITS = ("split", "splits")
CLASSES = "classes"
"""The array of an .npz that names the classes, in their order; of a Parquet file, a list in its metadata."""
METADATA = b"labelwise"
SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True)
class FeatureFile:
    """A file of features. embeddings: the name of their column; columns: names of the others; lists: of those with

    several values a row, which nothing reads; classes: declared names;
    values(name) -> (n,) values of a column; open(progress) -> the embeddings.
    """

    path: Path
    embeddings: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    values: Callable[[str], list[Any]]
    open: Callable[[Progress], Vectors]
    lists: tuple[str, ...] = ()

    def column(self, role: str, known: Sequence[str], given: str = "") -> str:
        """Return a role's column: the given one, else the only one of a known name, else "". Errors: InputError."""
        if given:
            if given not in self.columns:
                raise InputError(f"{self.path}: no column '{given}' (columns.{role}){nearest(given, self.columns)}")
            return given
        found = [name for name in self.columns if name.lower() in known]
        if len(found) > 1:
            raise InputError(
                f"{self.path}: {' and '.join(map(repr, found))} could each be the {role}; name it, such as "
                f"--set columns.{role}={found[0]}"
            )
        return found[0] if found else ""


def recognises(path: Path) -> bool:
    """Return whether a file holds features: an .npz, or a Parquet file with embeddings and no image."""
    if path.suffix.lower() == ".npz":
        return not path.is_dir()
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError):  # the source of Parquet files says what is wrong
        return False
    image = any(
        pa.types.is_struct(field.type) or pa.types.is_binary(field.type) or field.name in ("image", "img")
        for field in schema
    )
    return not image and any(field.name in EMBEDDINGS and pa.types.is_nested(field.type) for field in schema)


def open_file(name: str) -> FeatureFile:
    """Open a file of features; its embeddings are not read yet. Errors: InputError."""
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: not a file of features; give one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file{' (it is a folder)' if path.is_dir() else ''}; check the path")
    with readable(path):
        return (_npz if path.suffix.lower() == ".npz" else _parquet)(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say what is wrong with a file in one line."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, BrokenPipeError):  # from drawing the progress
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read: {reason}; make it again") from None


def _npz(path: Path) -> FeatureFile:
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise InputError(f"{path}: a single array; save named ones: np.savez(path, embeddings=..., labels=...)")
    with zipfile.ZipFile(path):  # NumPy would take what is no archive for a pickle
        pass
    with np.load(path, allow_pickle=False) as archive:
        names = tuple(archive.files)

    def values(name: str) -> list[Any]:
        with readable(path), np.load(path, allow_pickle=False) as archive:
            try:
                array = archive[name]
            except ValueError as error:
                if "pickle" not in str(error):
                    raise
                raise InputError(
                    f"{path}: {name} holds Python objects (a pickle), which are never read; save text as "
                    f"np.array({name}, dtype=str)"
                ) from None
        if array.ndim != 1:
            raise InputError(f"{path}: {name} has shape {array.shape}; one value a row is needed")
        return _plain(array)

    embeddings = _embeddings(path, names)
    classes = tuple(map(str, values(CLASSES))) if CLASSES in names else ()
    columns = tuple(name for name in names if name not in (embeddings, CLASSES))
    return FeatureFile(
        path, embeddings, columns, classes, values, lambda progress: vector_files.from_npz(path, embeddings, progress)
    )


def _plain(array: NDArray[Any]) -> list[Any]:
    values: list[Any] = array.tolist()
    if array.dtype.kind == "S":
        return [value.decode() for value in values]
    return values


def _parquet(path: Path) -> FeatureFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    embeddings = _embeddings(path, schema.names)
    nested = {field.name for field in schema if pa.types.is_nested(field.type)}
    if embeddings not in nested:
        raise InputError(
            f"{path}: {embeddings} holds {schema.field(embeddings).type}; a list of numbers a row is needed"
        )

    def values(name: str) -> list[Any]:
        with readable(path):
            found: list[Any] = pq.read_table(path, columns=[name]).column(0).to_pylist()
        return found

    columns = tuple(name for name in schema.names if name not in nested)
    return FeatureFile(
        path, embeddings, columns, _declared(schema.metadata or {}), values,
        lambda progress: vector_files.from_parquet(path, embeddings, progress),
        tuple(name for name in schema.names if name in nested - {embeddings}),
    )  # fmt: skip


def _declared(metadata: dict[bytes, bytes]) -> tuple[str, ...]:
    """Return the class names in a Parquet file's metadata: our own, or those of the library `datasets`."""
    try:
        own = json.loads(metadata.get(METADATA, b"{}")).get(CLASSES, ())
        if own:
            return tuple(map(str, own))
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return next(
            (tuple(map(str, features[name]["names"])) for name in LABELS if "names" in features.get(name, ())), ()
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return ()


def _embeddings(path: Path, names: Sequence[str]) -> str:
    found = [name for name in names if name in EMBEDDINGS]
    if len(found) == 1:
        return found[0]
    has = ", ".join(names[:20]) or "nothing"
    raise InputError(
        f"{path}: both embeddings and embedding are there; keep one" if found else
        f"{path}: no embeddings (N, D); it has {has}: name them embeddings"
    )  # fmt: skip


def write(path: Path, dataset: Dataset, values: Floats, made_with: dict[str, str]) -> None:
    """Write embeddings (N, D) with what a data set says of each row; the file is there whole or not at all.

    Parquet: float32, which every program reads; .npz: as they are. Labels are text, and the classes keep their order.
    """
    split = np.full(len(values), "train")
    split[dataset.test] = "test"
    columns = {"path": np.array(dataset.images.names, str), "label": np.array(dataset.classes)[dataset.labels],
               "split": split}  # fmt: skip
    if dataset.groups is not None:
        columns["group"] = np.array(dataset.groups, str)
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        if path.suffix.lower() == ".npz":
            with temporary.open("wb") as file:
                np.savez(file, embeddings=values, classes=np.array(dataset.classes), **columns)  # type: ignore[arg-type]
        else:
            _write_parquet(temporary, columns, values, {CLASSES: list(dataset.classes), **made_with})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(path: Path, columns: dict[str, NDArray[Any]], values: Floats, about: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = values.shape[1]
    fields = [*((name, pa.string()) for name in columns), ("embedding", pa.list_(pa.float32(), width))]
    schema = pa.schema(fields, metadata={METADATA: json.dumps(about).encode()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            flat = pa.array(np.asarray(values[part], np.float32).ravel())
            lists = pa.FixedSizeListArray.from_arrays(flat, width)
            texts = [pa.array(found[part].tolist(), pa.string()) for found in columns.values()]
            writer.write_table(pa.Table.from_arrays([*texts, lists], schema=schema))

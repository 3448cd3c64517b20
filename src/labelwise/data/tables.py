"""Data sets in tables: the Hugging Face hub and Parquet files, both read by the library `datasets`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.arrays import Indices
from labelwise.cache import cache_folder, cannot_write
from labelwise.config import Study, canonical, digest
from labelwise.data.columns import Chosen, choose
from labelwise.data.dataset import Listing
from labelwise.data.missing import extension, report
from labelwise.data.rows import Column, read_rows
from labelwise.errors import InputError
from labelwise.hub import go_offline, require_hub
from labelwise.parts import Columns


def parquet_files(path: Path) -> dict[str, list[str]]:
    """Return {"train": files, "test": files} of a Parquet file or folder; without train*.parquet, all files train."""
    if path.is_file() and path.suffix.lower() == ".parquet":
        return {"train": [str(path)]}
    files = _inside(path) or _inside(path / "data")
    found = {split: [f for f in files if re.match(split, Path(f).name)] for split in ("train", "test")}
    if not found["train"]:
        found = {"train": files}
    return {split: names for split, names in found.items() if names}


def _inside(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(str(p) for p in folder.glob("*.parquet") if p.is_file() and not p.name.startswith("."))


def from_parquet(path: Path, study: Study) -> Listing:
    """List Parquet files with one image and one label column. Errors: InputError for damaged files or no such columns.

    The library's copy of the tables, from which images are read by row, lies in the cache.
    """
    files = parquet_files(path)
    stats = [os.stat(name) for names in files.values() for name in names]
    key = digest(str(path.resolve()), *(f"{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}" for s in stats))
    folder = cache_folder() / "tables" / key
    try:
        splits = _load(files, folder)
    except Exception:  # a damaged copy is made again; a damaged source fails again
        shutil.rmtree(folder, ignore_errors=True)
        try:
            splits = _load(files, folder)
        except Exception as error:  # pyarrow, fsspec and datasets have no common error
            cause = _cause(error)
            if isinstance(cause, OSError) and cause.errno:
                raise InputError(cannot_write(cause)) from None
            raise InputError(f"{path}: cannot be read as Parquet: {_first_line(cause)}; make it again") from None
    listing = _listing(str(path), splits, key, path if path.is_dir() else path.parent, study)
    used = [name for names in files.values() for name in names]
    unused = [Path(name).name for name in (_inside(path) or _inside(path / "data")) if name not in used]
    note = (f"files of the folder that are not used: {', '.join(unused)}",) if unused else ()
    return replace(listing, notes=(*listing.notes, *note))


def _load(files: dict[str, list[str]], folder: Path) -> Any:
    return _datasets().load_dataset("parquet", data_files=files, cache_dir=str(folder))


def from_hub(name: str, study: Study) -> Listing:
    """List an image set of the hub. Errors: InputError at once when it is neither cached nor reachable."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise InputError(f"data: hub:{name} names no data set; write hub:owner/name")
    if Path(name).exists():  # the library would read it in the hub's place
        raise InputError(f"data: there is a local {name} where the hub's {name} was asked for; run in another folder")
    if not require_hub(f"the data set {name}", cached=_cached(name), otherwise="name a local copy with --data DIR"):
        go_offline()
    try:
        splits = _datasets().load_dataset(name)
    except Exception as error:
        raise InputError(f"hub:{name}: {type(error).__name__}: {_first_line(error)}") from None
    key = digest(name, *(f"{split}:{splits[split]._fingerprint}" for split in sorted(splits)))
    return _listing(f"hub:{name}", splits, key, None, study)


def _cached(name: str) -> bool:
    """Return whether the library has a copy of a hub set: in `owner___name`, in its own way of small letters."""
    root = Path(os.environ.get("HF_DATASETS_CACHE") or _hf_home() / "datasets")
    wanted = name.replace("/", "___").replace("_", "").lower()
    return root.is_dir() and any(p.name.replace("_", "").lower() == wanted for p in root.iterdir() if p.is_dir())


def _hf_home() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HF_HOME") or caches / "huggingface")


def _datasets() -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is said once, by us
    return datasets


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _listing(source: str, splits: Any, key: str, beside: Path | None, study: Study) -> Listing:
    """List one or two splits; `beside`: the only folder in which paths that stand in for images are looked up."""
    if "train" not in splits and len(splits) > 1:
        raise InputError(f"{source}: no split 'train' among {', '.join(splits)}; name the one to learn from train")
    used = [name for name in ("train", "test") if name in splits] if "train" in splits else list(splits)
    parts = [splits[name] for name in used]
    columns, feature = _columns(source, parts, study)
    start = np.cumsum([0, *map(len, parts)])

    def place(row: int) -> str:
        part = int(np.searchsorted(start, row, side="right")) - 1
        return f"{used[part]} {row - start[part]}"

    rows = read_rows(
        source, study, _distinct(source, parts, columns.label, feature),
        _distinct(source, parts, columns.split, "") if columns.split else None, place,
        getattr(feature, "names", None), np.repeat([False, True], np.diff(start)) if len(parts) == 2 else None,
    )  # fmt: skip
    groups = _distinct(source, parts, columns.group, "") if columns.group else None
    names = ["" if name is None else str(name) for name in groups.values] if groups else []
    read = _reader(source, parts, columns.image, _folder(beside, study.columns), extension(study.columns))
    kept, unused = rows.kept, [name for name in splits if name not in used]
    missing = _missing(source, parts, columns.image, kept, beside, study) if beside else ()
    return Listing(
        source, rows.classes, rows.labels, [place(row) for row in kept.tolist()], rows.test,
        [names[k] for k in groups.codes[kept].tolist()] if groups else None,
        blob=lambda index: read(int(kept[index])),
        key=digest(key, canonical(study.columns), hashlib.sha256(kept.tobytes()).hexdigest()),
        kind="Parquet" if beside else "set of the Hugging Face hub", unused={**columns.unused, **rows.unused},
        notes=(*columns.notes, *rows.notes, *missing,
               *((f"splits of the source that are not used: {', '.join(unused)}",) if unused else ())),
    )  # fmt: skip


def _columns(source: str, parts: list[Any], study: Study) -> tuple[Chosen, Any]:
    """Return the columns, and what the library knows of the label's. Errors: InputError, also for unlike parts."""
    datasets = _datasets()
    features = parts[0].features
    columns = choose(
        source, list(features), study.columns,
        [name for name, feature in features.items() if isinstance(feature, datasets.Image)],
        [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)],
    )  # fmt: skip
    label = features[columns.label]
    for part in parts[1:]:
        if missing := [name for name in (columns.image, columns.label, columns.group, columns.split)
                       if name and name not in part.features]:  # fmt: skip
            raise InputError(f"{source}: the test split lacks the column '{missing[0]}' of the train split")
        if part.features[columns.label] != label:
            raise InputError(f"{source}: classes differ between train and test; give both the same names, in order")
    return columns, label


def _distinct(source: str, parts: list[Any], name: str, feature: Any) -> Column:
    """Return a column of all parts. Errors: InputError for one that holds more than one value a row."""
    import pyarrow as pa

    chunks = [chunk for part in parts for chunk in part.data.column(name).chunks]
    if pa.types.is_nested(chunks[0].type if chunks else pa.null()):
        raise InputError(f"{source}: labels are {feature}; they must be text or whole numbers, one an image")
    encoded = pa.chunked_array(chunks).dictionary_encode(null_encoding="encode").unify_dictionaries()
    values = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    codes = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    return Column(values, np.concatenate(codes).astype(np.int64) if codes else np.empty(0, np.int64))


def _folder(beside: Path | None, keys: Columns) -> Path | None:
    return beside / os.path.expanduser(keys.folder) if beside and keys.folder else beside


def _missing(
    source: str, parts: list[Any], image: str, kept: Indices, beside: Path, study: Study
) -> tuple[str, ...]:  # fmt: skip
    """Return a note on images that a table only names, and that are not there. Errors: InputError, see `report`."""
    import pyarrow as pa

    columns = [part.data.column(image) for part in parts]
    if not all(pa.types.is_string(column.type) for column in columns):
        return ()
    names = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).take(kept).to_pylist()
    folder, ending = os.path.expanduser(study.columns.folder), extension(study.columns)
    looked_for = [os.path.join(folder, (name or "") + ending) for name in names]
    lost = [i for i, name in enumerate(looked_for) if names[i] and not os.path.isfile(os.path.join(beside, name))]
    if not lost:
        return ()
    return report(source, beside, study, [names[i] for i in lost], [looked_for[i] for i in lost], len(names))


def _reader(
    source: str, parts: list[Any], image: str, beside: Path | None, ending: str
) -> Callable[[int], bytes]:  # fmt: skip
    import pyarrow as pa

    columns = [part.data.column(image) for part in parts]
    first = len(columns[0])
    kind = columns[0].type
    if not (pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            or pa.types.is_string(kind)):  # fmt: skip
        raise InputError(f"{source}: the column '{image}' holds {kind}; it must hold encoded images (JPEG, PNG, ...)")

    def blob(index: int) -> bytes:
        value: Any = (columns[0][index] if index < first else columns[1][index - first]).as_py()
        path = value
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if isinstance(value, bytes):
            return value
        return _beside(path + ending, beside) if path else b""

    return blob


def _beside(name: str, folder: Path | None) -> bytes:
    """Read an image that a table only names; of a file from elsewhere, only what lies in its own folder."""
    path = Path(name) if folder is None else folder / name
    if folder is not None and not path.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"the table names {name}, which is not in its folder")
    return path.read_bytes()

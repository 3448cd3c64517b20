"""Data sets in tables: the Hugging Face hub and Parquet files, both read by the library `datasets`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from labelwise.arrays import Labels
from labelwise.cache import SEAL, cache_folder, cannot_write, seal, use, verify, warn
from labelwise.config import Study, digest
from labelwise.data.dataset import Listing
from labelwise.errors import InputError
from labelwise.hub import go_offline, require_hub

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


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
        splits = _copy(files, folder)
    except Exception as error:  # pyarrow, fsspec and datasets have no common error
        cause = _cause(error)
        if isinstance(cause, OSError) and cause.errno:
            raise InputError(cannot_write(cause)) from None
        raise InputError(f"{path}: cannot be read as Parquet: {_first_line(cause)}; make it again") from None
    listing = _listing(str(path), splits, key, path if path.is_dir() else path.parent)
    used = [name for names in files.values() for name in names]
    use(folder, listing.blob)  # the library has it mapped
    unused = [Path(name).name for name in (_inside(path) or _inside(path / "data")) if name not in used]
    note = (f"files of the folder that are not used: {', '.join(unused)}",) if unused else ()
    return replace(listing, notes=(*listing.notes, *note))


def _copy(files: dict[str, list[str]], folder: Path) -> Any:
    """Open the library's copy of the tables, made where there is none, or one that is not whole or damaged."""
    name, lock = f"{folder.parent.name}/{folder.name}", folder.parent / ".locks" / folder.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if (folder / SEAL).is_file():
            try:
                verify(folder, name)
                return _load(files, folder)
            except Exception as error:  # as above
                warn(f"the cache's copy {folder} is damaged and is made again: {_first_line(_cause(error))}")
        shutil.rmtree(folder, ignore_errors=True)
        splits = _load(files, folder)
        seal(folder, name)
    return splits


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
    return _listing(f"hub:{name}", splits, key, None)


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


def _listing(source: str, splits: Any, key: str, beside: Path | None) -> Listing:
    """List one or two splits; `beside`: the only folder in which paths that stand in for images are looked up."""
    if "train" not in splits and len(splits) > 1:
        raise InputError(f"{source}: no split 'train' among {', '.join(splits)}; name the one to learn from train")
    used = [name for name in ("train", "test") if name in splits] if "train" in splits else list(splits)
    parts = [splits[name] for name in used]
    datasets = _datasets()
    image = _column(source, parts[0], IMAGE_COLUMNS, lambda f: isinstance(f, datasets.Image), "an image")
    label = _column(source, parts[0], LABEL_COLUMNS, lambda f: isinstance(f, datasets.ClassLabel), "a label")
    for part in parts[1:]:
        if not {image, label} <= set(part.features):
            raise InputError(f"{source}: the test split lacks the column '{image}' or '{label}' of the train split")
        if part.features[label] != parts[0].features[label]:
            raise InputError(f"{source}: classes differ between train and test; give both the same names, in order")
    classes, labels = _classes(source, parts[0].features[label], [v for part in parts for v in _values(part, label)])
    grouped = all("group" in part.features for part in parts)
    unused = [name for name in splits if name not in used]
    return Listing(
        source, classes, labels,
        names=[f"{name} {i}" for name, part in zip(used, parts, strict=True) for i in range(len(part))],
        test=np.repeat([False, True], [len(part) for part in parts]) if len(parts) == 2 else None,
        groups=["" if g is None else str(g) for part in parts for g in _values(part, "group")] if grouped else None,
        blob=_reader(source, parts, image, beside), key=key,
        notes=(f"splits of the source that are not used: {', '.join(unused)}",) if unused else (),
    )  # fmt: skip


def _values(part: Any, column: str) -> list[Any]:
    values: list[Any] = part.data.column(column).to_pylist()
    return values


def _column(source: str, part: Any, names: tuple[str, ...], fits: Callable[[Any], bool], what: str) -> str:
    """Return the column of the right type, or else name; of several, the one that is named first in `names`."""
    candidates = [name for name, feature in part.features.items() if fits(feature)]
    candidates = candidates or [name for name in part.features if name in names]
    if not candidates:
        raise InputError(
            f"{source}: no column with {what} (looked for {', '.join(names)}); it has {', '.join(part.features)}"
        )
    chosen: str = min(candidates, key=lambda name: (*names, name).index(name))
    return chosen


def _classes(source: str, feature: Any, raw: list[Any]) -> tuple[tuple[str, ...], Labels]:
    """Return the declared class names and (N,) labels; plain text or number columns declare their distinct values."""
    missing = sum(value is None or value in ("", -1) for value in raw)
    if missing:
        raise InputError(f"{source}: {missing} of {len(raw)} images have no label; remove them or give them one")
    names = tuple(getattr(feature, "names", None) or ())
    if names:
        labels = np.asarray(raw, dtype=np.int64)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            raise InputError(f"{source}: labels from {labels.min()} to {labels.max()} for {len(names)} class names")
        return names, labels
    if not all(isinstance(value, str | int) for value in raw):
        raise InputError(f"{source}: labels are {feature}; they must be text or whole numbers, one an image")
    values = sorted(set(raw))
    codes = {value: k for k, value in enumerate(values)}
    return tuple(str(value) for value in values), np.array([codes[value] for value in raw], dtype=np.int64)


def _reader(source: str, parts: list[Any], image: str, beside: Path | None) -> Callable[[int], bytes]:
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
        return _beside(path, beside) if path else b""

    return blob


def _beside(name: str, folder: Path | None) -> bytes:
    """Read an image that a table only names; of a file from elsewhere, only what lies in its own folder."""
    path = Path(name) if folder is None else folder / name
    if folder is not None and not path.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"the table names {name}, which is not in its folder")
    return path.read_bytes()

"""Data sets in tables: the Hugging Face hub and Parquet files, both read by the library `datasets`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from labelwise.cache import LOCKS, SEAL, cache_folder, cannot_write, seal, use, verify, warn
from labelwise.config import Study, digest
from labelwise.data import arrow
from labelwise.data.dataset import Listing
from labelwise.data.sides import Chosen, choose, listed, side_of, without_shard
from labelwise.errors import InputError
from labelwise.hub import go_offline, require_hub


def parquet_files(path: Path) -> dict[str, list[str]]:
    """Return the files of a Parquet file or folder by what they are called, sorted: parts of one split have one name.

    In a folder: its own files, or else those of `data/`; or else its folders' files, which go by the folder's name.
    """
    if path.is_file() and path.suffix.lower() == ".parquet":
        return {path.stem: [str(path)]}
    named: dict[str, list[str]] = {}
    for place in (path, path / "data"):
        if files := _inside(place):
            for file in files:
                named.setdefault(without_shard(Path(file).stem), []).append(file)
            return named
        if place.is_dir():
            folders = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))
            named |= {folder.name: files for folder in folders if (files := _inside(folder)) and folder.name != "data"}
    return named


def _beside(path: Path, named: dict[str, list[str]]) -> int:
    """Return how many Parquet files lie in the folder, or in folders of it, and are not taken."""
    if not path.is_dir():
        return 0
    above = [place for place in (path, path / "data") if place.is_dir()]
    places = {*above, *(below for place in above for below in place.iterdir() if below.is_dir())}
    found = {file for place in places if not place.name.startswith(".") for file in _inside(place)}
    return len(found.difference(*named.values()))


def _inside(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    files = (p for p in folder.iterdir() if p.suffix.lower() == ".parquet" and not p.name.startswith("."))
    return sorted(str(p) for p in files if p.is_file())


def from_parquet(path: Path, study: Study) -> Listing:
    """List Parquet files with one image and one label column. Errors: InputError for damaged files or no such columns.

    The library's copy of the tables, from which images are read by row, lies in the cache.
    """
    named = parquet_files(path)
    chosen = _parts(named, study, str(path))
    sides = {"train": chosen.train, "test": chosen.test}
    files = {side: [file for name in names for file in named[name]] for side, names in sides.items() if names}
    stats = [os.stat(name) for names in files.values() for name in names]
    key = digest(str(path.resolve()), *files, *(f"{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}" for s in stats))
    folder = cache_folder() / "tables" / key
    try:
        splits = _copy(files, folder)
    except Exception as error:  # pyarrow, fsspec and datasets have no common error
        cause = _cause(error)
        if isinstance(cause, OSError) and cause.errno:
            raise InputError(cannot_write(cause)) from None
        raise InputError(f"{path}: cannot be read as Parquet: {_first_line(cause)}; make it again") from None
    unused = {f"files of {name}": len(named[name]) for name in chosen.unused}
    if others := _beside(path, named):
        unused["Parquet files in other folders"] = others
    read = Chosen(("train",), ("test",) if chosen.test else (), notes=chosen.notes)
    listing = arrow.listing(str(path), splits, read, key, path if path.is_dir() else path.parent, study,
                            by_parts=_by_parts(named, study))  # fmt: skip
    use(folder, listing.blob)  # the library has it mapped
    pooled = (f"read as one set: {listed(chosen.train)}",) if len(chosen.train) > 1 and not chosen.notes else ()
    notes = (*listing.notes, *pooled)
    return replace(listing, kind="Parquet", unused={**listing.unused, **unused}, notes=notes)


def _parts(names: Collection[str], study: Study, where: str, every: bool = False) -> Chosen:
    """Return which parts are which side by their names; a single part, or a named column, says it by its rows."""
    return choose(names, study.split, where, every) if _by_parts(names, study) else Chosen(tuple(names))


def _by_parts(names: Collection[str], study: Study) -> bool:
    return len(names) > 1 and not study.columns.split


def _copy(files: dict[str, list[str]], folder: Path) -> Any:
    """Open the library's copy of the tables, made where there is none, or one that is not whole or damaged."""
    name, lock = f"{folder.parent.name}/{folder.name}", folder.parent / LOCKS / folder.name
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
    return arrow.datasets().load_dataset("parquet", data_files=files, cache_dir=str(folder))


def from_hub(name: str, study: Study) -> Listing:
    """List an image set of the hub. Errors: InputError at once when it is neither cached nor reachable."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise InputError(f"data: hub:{name} names no data set; write hub:owner/name")
    if Path(name).exists():  # the library would read it in the hub's place
        raise InputError(f"data: there is a local {name} where the hub's {name} was asked for; run in another folder")
    if not require_hub(f"the data set {name}", cached=_cached(name), otherwise="name a local copy with --data DIR"):
        go_offline()
    try:
        splits = arrow.datasets().load_dataset(name)
    except Exception as error:
        raise InputError(f"hub:{name}: {type(error).__name__}: {_first_line(error)}") from None
    chosen = _parts(splits, study, f"hub:{name}", every=not any(map(side_of, splits)))
    used = [*chosen.train, *chosen.test]
    key = digest(name, *(f"{split}:{splits[split]._fingerprint}" for split in used))
    listing = arrow.listing(f"hub:{name}", splits, chosen, key, None, study, _by_parts(splits, study))
    unused = {f"images of the split {split}": len(splits[split]) for split in chosen.unused}
    return replace(listing, kind="hub", unused={**listing.unused, **unused})


def _cached(name: str) -> bool:
    """Return whether the library has a copy of a hub set: in `owner___name`, in its own way of small letters."""
    root = Path(os.environ.get("HF_DATASETS_CACHE") or _hf_home() / "datasets")
    wanted = name.replace("/", "___").replace("_", "").lower()
    return root.is_dir() and any(p.name.replace("_", "").lower() == wanted for p in root.iterdir() if p.is_dir())


def _hf_home() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("HF_HOME") or caches / "huggingface")


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

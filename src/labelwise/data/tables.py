"""Data sets in tables: the Hugging Face hub and Parquet files, both read by the library `datasets`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.config import digest
from labelwise.data.dataset import Listing
from labelwise.errors import InputError
from labelwise.hub import require_hub

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


def parquet_files(path: Path) -> dict[str, list[str]]:
    """Return {"train": files, "test": files} of a Parquet file or folder; without train*.parquet, all files train."""
    if path.is_file() and path.suffix.lower() == ".parquet":
        return {"train": [str(path)]}
    if not path.is_dir():
        return {}
    files = sorted(str(p) for p in (*path.glob("*.parquet"), *path.glob("data/*.parquet")))
    found = {split: [f for f in files if re.match(split, Path(f).name)] for split in ("train", "test")}
    if not found["train"]:
        found = {"train": files}
    return {split: names for split, names in found.items() if names}


def from_parquet(path: Path) -> Listing:
    """List Parquet files with one image and one label column. Errors: InputError for damaged files or no such columns."""
    datasets = _datasets()
    files = parquet_files(path)
    try:
        splits = datasets.load_dataset("parquet", data_files=files)
    except Exception as error:  # pyarrow, fsspec and datasets have no common error
        cause = error.__cause__ or error
        raise InputError(f"{path}: cannot be read as Parquet: {str(cause).splitlines()[0]}") from None
    stats = [os.stat(name) for names in files.values() for name in names]
    key = digest(str(path.resolve()), *(f"{s.st_size}:{s.st_mtime_ns}" for s in stats))
    return _listing(str(path), splits, key)


def from_hub(name: str) -> Listing:
    """List an image set of the hub. Errors: InputError at once when it is neither cached nor reachable."""
    online = require_hub(f"the data set {name}", cached=_cached(name), otherwise="name a local copy with --data DIR")
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"
    datasets = _datasets()
    try:
        splits = datasets.load_dataset(name)
    except Exception as error:
        raise InputError(f"hub:{name}: {type(error).__name__}: {str(error).splitlines()[0]}") from None
    key = digest(name, *(f"{split}:{splits[split]._fingerprint}" for split in sorted(splits)))
    return _listing(f"hub:{name}", splits, key)


def _cached(name: str) -> bool:
    root = Path(os.environ.get("HF_DATASETS_CACHE") or _hf_home() / "datasets")
    return (root / name.replace("/", "___")).is_dir()


def _hf_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def _datasets() -> Any:
    import datasets

    datasets.disable_progress_bars()
    return datasets


def _listing(source: str, splits: Any, key: str) -> Listing:
    datasets = _datasets()
    train = splits["train"] if "train" in splits else splits[next(iter(splits))]
    parts = [train] + ([splits["test"]] if "test" in splits and "train" in splits else [])
    image = _column(source, train, IMAGE_COLUMNS, lambda f: isinstance(f, datasets.Image), "an image")
    label = _column(source, train, LABEL_COLUMNS, lambda f: isinstance(f, datasets.ClassLabel), "a label")
    for part in parts[1:]:
        if not {image, label} <= set(part.features):
            raise InputError(f"{source}: the test split lacks the column '{image}' or '{label}' of the train split")
    raw = [values for part in parts for values in part.with_format(None)[label]]
    classes, labels = _classes(source, train.features[label], raw)
    if len(parts) == 2 and getattr(parts[1].features[label], "names", None) not in (None, list(classes)):
        raise InputError(f"{source}: classes differ between train and test; give both the same class names, in order")
    groups = [str(g) for part in parts for g in part["group"]] if all("group" in p.features for p in parts) else None
    test = np.repeat([False, True], [len(train), len(parts[1])]) if len(parts) == 2 else None
    used = {"train", "test"} if len(parts) == 2 else {next(s for s in splits if splits[s] is train)}
    unused = [split for split in splits if split not in used]
    return Listing(
        source, classes, labels,
        names=[f"{split} {i}" for split, part in zip(("train", "test"), parts, strict=False) for i in range(len(part))],
        test=test, groups=groups, blob=_reader(parts, image, datasets), key=key,
        notes=(f"splits of the source that are not used: {', '.join(unused)}",) if unused else (),
    )  # fmt: skip


def _column(source: str, part: Any, names: tuple[str, ...], fits: Callable[[Any], bool], what: str) -> str:
    typed = [name for name, feature in part.features.items() if fits(feature)]
    named = [name for name in names if name in part.features]
    if not typed and not named:
        raise InputError(
            f"{source}: no column with {what} (looked for {', '.join(names)}); it has {', '.join(part.features)}"
        )
    return (typed or named)[0]


def _classes(source: str, feature: Any, raw: list[Any]) -> tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the declared class names and (N,) labels; plain text or number columns declare their distinct values."""
    missing = sum(value is None or value == -1 for value in raw)
    if missing:
        raise InputError(f"{source}: {missing} of {len(raw)} images have no label; remove them or give them one")
    if getattr(feature, "names", None):
        classes = tuple(feature.names)
        return classes, np.asarray(raw, dtype=np.int64)
    values = sorted(set(raw))
    codes = {value: k for k, value in enumerate(values)}
    return tuple(str(value) for value in values), np.array([codes[value] for value in raw], dtype=np.int64)


def _reader(parts: list[Any], image: str, datasets: Any) -> Callable[[int], bytes]:
    encoded = [part.select_columns([image]).cast_column(image, datasets.Image(decode=False)) for part in parts]
    first = len(encoded[0])

    def blob(index: int) -> bytes:
        part, row = (encoded[0], index) if index < first else (encoded[1], index - first)
        value = part[row][image]
        if value is None:
            return b""
        return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()

    return blob

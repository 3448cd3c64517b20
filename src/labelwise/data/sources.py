"""Where images come from: one loader and one row of SOURCES each.

A study's `data` (or `--data`) is a source's name, `hub:owner/name`, or a path; the first row that recognises it
loads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelwise.config import Study
from labelwise.data import cifar, csv_files, feature_files, features, folders, tables
from labelwise.data.building import build
from labelwise.data.dataset import Dataset, Listing
from labelwise.data.images import Progress
from labelwise.errors import InputError, nearest, printable
from labelwise.parts import Columns


@dataclass(frozen=True)
class Source:
    """One kind of source: `recognises(data)` says whether a study's `data` is of this kind, `load(study)` lists it.

    columns: the keys of `columns` that it uses; sides: whether `split` may name its parts; pictures: whether there are.
    """

    name: str
    summary: str
    recognises: Callable[[str], bool]
    load: Callable[[Study], Listing]
    columns: tuple[str, ...] = ()
    sides: bool = True
    pictures: bool = True

    def check(self, study: Study) -> None:
        """Refuse keys that this source would pass over without a word. Errors: InputError."""
        given = study.columns.model_dump()
        if unused := [key for key, value in given.items() if value and key not in self.columns]:
            has = f"of them it takes {', '.join(self.columns)}" if self.columns else "it has no columns"
            raise InputError(f"columns.{unused[0]}: the data are read as {self.name}, and {has}; leave this key out")
        if not self.pictures and study.resize != "crop":
            raise InputError(f"resize: the data are read as {self.name}, without images; leave this key out")
        if not self.sides and study.split != "auto":
            raise InputError(f"split: the data are read as {self.name}, whose split is fixed; leave this key out")


_ROLES = ("image", "label", "group", "split")


def _digits(_: Study) -> Listing:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Listing(
        source="digits (scikit-learn)",
        classes=tuple(str(k) for k in range(10)),
        labels=digits.target.astype(np.int64),
        names=[f"digit {i}" for i in range(len(grey))],
        pixels=np.repeat(grey[..., None], 3, axis=3),
    )


def _folder(data: str) -> Path:
    return Path(os.path.expanduser(data))


SOURCES: tuple[Source, ...] = (
    Source("digits", "scikit-learn's 1,797 handwritten digits of 8x8 pixels; no download", "digits".__eq__, _digits,
           sides=False),
    Source("cifar10", "CIFAR-10 from the Hugging Face hub (uoft-cs/cifar10)", "cifar10".__eq__,
           lambda study: tables.from_hub("uoft-cs/cifar10", study), (*_ROLES, "minus_one")),
    Source("hub:owner/name", "any image classification set of the Hugging Face hub",
           lambda data: data.startswith("hub:"), lambda study: tables.from_hub(study.data.removeprefix("hub:"), study),
           (*_ROLES, "extension", "minus_one")),
    Source("cifar-10-batches-py", "a folder with CIFAR-10's official Python files",
           lambda data: cifar.batches_folder(_folder(data)) is not None, lambda study: cifar.load(_folder(study.data)),
           sides=False),
    Source("features", "an .npz or Parquet file with embeddings (N, D) and labels, without images",
           lambda data: feature_files.recognises(_folder(data)),
           lambda study: features.load(_folder(study.data), study), (*_ROLES, "minus_one"), pictures=False),
    Source("Parquet", "a Parquet file, or a folder of them (train*.parquet, test*.parquet), with an image and a label",
           lambda data: bool(tables.parquet_files(_folder(data))),
           lambda study: tables.from_parquet(_folder(study.data), study),
           (*_ROLES, "folder", "extension", "minus_one")),
    Source("CSV", "a CSV file with the columns path,label[,group][,split]; paths are relative to the file",
           lambda data: _folder(data).suffix.lower() == ".csv" and not _folder(data).is_dir(),
           lambda study: csv_files.from_csv(_folder(study.data), study),
           tuple(Columns.model_fields)),
    Source("folder", "a folder with one folder of images a class, with or without train/ and test/ above them",
           lambda data: _folder(data).is_dir(), lambda study: folders.from_folder(_folder(study.data), study)),
)  # fmt: skip


def open_dataset(study: Study, progress: Progress = lambda _what, _done, _total: None) -> Dataset:
    """Open the data that a study names. Errors: InputError of one line that says what was looked for and what to do."""
    try:
        return _open(study, progress)
    except InputError as error:  # names of files and classes may hold anything, line breaks too
        raise InputError(printable(str(error))) from None
    except BrokenPipeError:  # from drawing the progress
        raise
    except OSError as error:
        where, reason = error.filename or study.data, error.strerror or str(error)
        raise InputError(printable(f"cannot read {where}: {reason}; check the path and its permissions")) from None


def _open(study: Study, progress: Progress) -> Dataset:
    if not study.data.strip() or "\0" in study.data:
        raise InputError("data: nothing is named; give a source's name, hub:owner/name or a path")
    for source in SOURCES:
        if source.recognises(study.data):
            source.check(study)
            dataset = build(source.load(study), study, progress)
            return features.with_features(dataset, study, progress) if study.features else dataset
    if _folder(study.data).exists():
        raise InputError(f"data: {study.data} is no folder, .csv, .parquet or .npz file; give one of these")
    if any(mark in study.data for mark in "/\\."):
        raise InputError(f"data: there is no file or folder {study.data}; hub sets are written hub:owner/name")
    names = [source.name for source in SOURCES[:2]]
    raise InputError(f"data: '{study.data}' is neither a source nor a path{nearest(study.data, names)}")

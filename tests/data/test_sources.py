"""One contract for every row of SOURCES; a new row needs an entry in MAKE."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from labelwise.config import Study
from labelwise.data import sources, tables
from labelwise.data.building import build
from labelwise.data.cifar import FILES
from labelwise.data.dataset import Dataset
from labelwise.data.sources import SOURCES, open_dataset
from labelwise.errors import InputError
from pictures import class_folders, encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")
CLASSES = ("ant", "bee", "cat")


def labels(seed: int) -> list[int]:
    return [i % 3 for i in range(30)] if seed != 1 else [i % 3 for i in range(29)] + [0]


def pixels(seed: int) -> list[np.ndarray]:
    return [picture(i if seed != 2 or i else 999, size=(32, 32)) for i in range(30)]


def names(seed: int) -> tuple[str, ...]:
    return CLASSES if seed != 3 else ("ant", "bee", "cow")


def split(seed: int) -> datasets.Dataset:
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names(seed)))})
    rows = {"img": [{"bytes": encoded(p), "path": None} for p in pixels(seed)], "label": labels(seed)}
    return datasets.Dataset.from_dict(rows, features=features)


def hub(data: str) -> Callable[[Path, int, pytest.MonkeyPatch], str]:
    def make(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr(tables, "require_hub", lambda *_, **__: True)
        monkeypatch.setattr(datasets, "load_dataset", lambda _name: datasets.DatasetDict({"train": split(seed)}))
        return data

    return make


def digits(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    found = load_digits()
    if seed == 1:
        found.target[0] = 1
    if seed == 2:
        found.images[0] += 1
    if seed == 3:
        build_as_it_is = sources.build
        monkeypatch.setattr(
            sources,
            "build",
            lambda listing, *rest: build_as_it_is(replace(listing, classes=tuple("abcdefghij")), *rest),
        )
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: found)
    return "digits"


def official(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    planes = np.stack(pixels(seed)).transpose(0, 3, 1, 2).reshape(30, 3072)
    for k, name in enumerate(FILES[:-1]):
        rows = slice(5 * k, 5 * k + 5)
        batch = {b"data": planes[rows], b"labels": labels(seed)[rows], b"filenames": [b"%d.png" % i for i in range(5)]}
        write(root / name, pickle.dumps(batch, protocol=2))
    write(root / FILES[-1], pickle.dumps({b"label_names": [n.encode() for n in names(seed)]}, protocol=2))
    return str(root)


def parquet(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    columns = {"image": [encoded(p) for p in pixels(seed)], "label": [names(seed)[k] for k in labels(seed)]}
    pq.write_table(pa.table(columns), root / "x.parquet")
    return str(root)


def folder(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    for i, (array, k) in enumerate(zip(pixels(seed), labels(seed), strict=True)):
        write(root / names(seed)[k] / f"{i:02d}.png", encoded(array))
    return str(root)


def table(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    lines = ["path,label"]
    for i, (array, k) in enumerate(zip(pixels(seed), labels(seed), strict=True)):
        write(root / f"{i}.png", encoded(array))
        lines.append(f"{i}.png,{names(seed)[k]}")
    return str(write(root / "labels.csv", "\n".join(lines).encode()))


def features(root: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> str:
    values = np.stack([p[::8, ::8, 0].ravel() for p in pixels(seed)]).astype(np.float32)
    np.savez(root / "x.npz", embeddings=values, labels=labels(seed), classes=np.array(names(seed)))
    return str(root / "x.npz")


MAKE: dict[str, Callable[[Path, int, pytest.MonkeyPatch], str]] = {
    "digits": digits,
    "cifar10": hub("cifar10"),
    "hub:owner/name": hub("hub:owner/name"),
    "cifar-10-batches-py": official,
    "features": features,
    "Parquet": parquet,
    "CSV": table,
    "folder": folder,
}


def made(source: str, tmp_path: Path, seed: int = 0) -> Dataset:
    """Open a small set of this source; seeds 1, 2 and 3 differ from 0 in one label, one pixel, one class name."""
    root = tmp_path / f"data {seed}"
    root.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        data = MAKE[source](root, seed, monkeypatch)
        (row,) = [row for row in SOURCES if row.name == source]
        assert next(row for row in SOURCES if row.recognises(data)) is row
        return open_dataset(Study(data=data))


@pytest.mark.parametrize("source", [row.name for row in SOURCES])
def test_contract(source: str, tmp_path: Path) -> None:
    dataset = made(source, tmp_path)
    count, classes = len(dataset.images), len(dataset.classes)
    assert dataset.labels.shape == (count,)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.min() >= 0
    assert dataset.labels.max() < classes
    assert len(set(dataset.classes)) == classes > 1
    for side in (dataset.pool, dataset.test):
        assert side.dtype == np.int64
        assert (np.diff(side) > 0).all()
        assert set(dataset.labels[side].tolist()) == set(range(classes))
    assert sorted([*dataset.pool, *dataset.test]) == list(range(count))
    assert dataset.images.there == (dataset.features is None)
    if dataset.features is None:
        assert dataset.images.pixels is not None
        assert dataset.images.pixels.shape[0] == count
        assert dataset.images.pixels.dtype == np.uint8
        assert dataset.images.pixels.std() > 10
    else:
        assert dataset.features.shape[0] == count
        with pytest.raises(InputError, match="the data are features without images"):
            dataset.images.squares(np.array([0]), 24, 1.0)
    assert not any(os.path.isabs(name) for name in dataset.images.names)
    assert all(name.isprintable() for name in (*dataset.images.names, *dataset.classes, *dataset.notes))
    if dataset.images.blob is not None:
        squares = dataset.images.squares(np.array([0, count - 1]), 24, 1.0)
        assert squares.shape == (2, 24, 24, 3)
    again = made(source, tmp_path)
    assert again.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.test, dataset.test)
    changed = [made(source, tmp_path, seed).fingerprint for seed in (1, 2, 3)]
    assert len({dataset.fingerprint, *changed}) == 4, "a label, a pixel and a class name each change it"


def test_every_source_is_described() -> None:
    assert [row.name for row in SOURCES] == list(MAKE)
    assert all(row.summary and "\n" not in row.summary for row in SOURCES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "nothing is named"),
        ("  ", "nothing is named"),
        ("a\0b", "nothing is named"),
        ("cifar", "neither a source nor a path; did you mean 'cifar10'?"),
        ("Digits", "did you mean 'digits'?"),
        ("owner/name", "there is no file or folder owner/name; hub sets are written hub:owner/name"),
        ("./nowhere\nat all", r"there is no file or folder ./nowhere\nat all"),
        ("~nobody/x", "there is no file or folder ~nobody/x"),
        ("x" * 5000 + "/", "File name too long"),
    ],
)
def test_what_is_no_source(data: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        open_dataset(Study(data=data))
    assert message in str(raised.value)
    assert str(raised.value).isprintable()


def test_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    class_folders(tmp_path / "pets")
    assert len(open_dataset(Study(data="~/pets")).images) == 12


def test_many_small_files_are_read_quickly(tmp_path: Path) -> None:
    blobs = [encoded(picture(i), "JPEG") for i in range(50)]
    for k in range(4):
        for i in range(500):
            write(tmp_path / "data" / f"class {k}" / f"{i}.jpg", blobs[(k * 7 + i) % 50])
    started = time.perf_counter()
    assert len(open_dataset(Study(data=str(tmp_path / "data"))).images) == 2000
    assert time.perf_counter() - started < 10
    started = time.perf_counter()
    open_dataset(Study(data=str(tmp_path / "data")))
    assert time.perf_counter() - started < 2


KILLED = """
    import os, sys
    from labelwise.config import Study
    from labelwise.data.sources import open_dataset
    open_dataset(Study(data=sys.argv[1]), lambda what, done, total: os._exit(9))
"""


@pytest.mark.slow
def test_a_process_killed_while_reading_leaves_nothing_wrong(tmp_path: Path, cache: Path) -> None:
    class_folders(tmp_path / "data", count=200)
    code = textwrap.dedent(KILLED)
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False).returncode == 9
    (left,) = (cache / "images").iterdir()
    assert left.name.endswith(".unfinished")
    dataset = open_dataset(Study(data=str(tmp_path / "data")))
    assert dataset.images.pixels is not None
    assert len(dataset.images.pixels) == 400


@pytest.mark.slow
def test_cifar10(cifar10: Path) -> None:
    started = time.perf_counter()
    dataset = open_dataset(Study(data=str(cifar10)))
    assert time.perf_counter() - started < 60, "10 s on two idle cores"
    assert " ".join(dataset.classes) == "airplane automobile bird cat deer dog frog horse ship truck"
    assert (len(dataset.pool), len(dataset.test)) == (50_000, 10_000)
    assert dataset.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert dataset.labels[dataset.test[:10]].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert np.bincount(dataset.labels[dataset.pool]).tolist() == [5000] * 10
    assert dataset.seen.unused == {"files of prelabels": 1}
    assert dataset.images.small
    assert dataset.images.pixels is not None
    assert dataset.images.pixels.shape == (60_000, 32, 32, 3)
    started = time.perf_counter()
    assert open_dataset(Study(data=str(cifar10))).fingerprint == dataset.fingerprint
    assert time.perf_counter() - started < 5


def test_building_needs_only_a_listing() -> None:
    listing = sources._digits("")
    assert build(listing, Study(), lambda *_: None).fingerprint == open_dataset(Study(data="digits")).fingerprint


@pytest.mark.parametrize(
    ("data", "keys", "message"),
    [
        ("photos", {"columns": {"label": "breed"}}, "columns.label: the data are read as folder, and it has no"),
        ("digits", {"columns": {"minus_one": "class"}}, "columns.minus_one: the data are read as digits, and it"),
        ("digits", {"split": {"test": ["test"]}}, "split: the data are read as digits, whose split is fixed"),
        ("digits", {"split": "none"}, "split: the data are read as digits, whose split is fixed"),
        ("train.parquet", {"columns": {"separator": ";"}},
         "columns.separator: the data are read as Parquet, and of them it takes image, label, group, split, folder"),
        ("x.npz", {"columns": {"folder": "a"}}, "columns.folder: the data are read as features"),
        ("x.npz", {"resize": "pad"}, "resize: the data are read as features, without images"),
    ],
)  # fmt: skip
def test_keys_that_a_source_would_pass_over_are_refused(
    data: str, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    class_folders(tmp_path / "photos")
    for name in ("train.parquet", "x.npz"):
        (tmp_path / name).touch()
    where = data if data == "digits" else str(tmp_path / data)
    with pytest.raises(InputError, match="leave this key out") as raised:
        open_dataset(Study.model_validate({"data": where, **keys}))
    assert message in str(raised.value)

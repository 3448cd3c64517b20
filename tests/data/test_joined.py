"""Files joined to images: by name, number or order, and every way in which that can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.joined import column_of, read_columns, read_joined
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import class_folders


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("images")
    class_folders(root / "train", count=6)
    class_folders(root / "test", count=3, seed=9)
    return open_dataset(Study(data=str(root)))


def frame(dataset: Dataset, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"value": np.arange(len(dataset.pool)), **columns})


def write(table: pd.DataFrame, path: Path) -> str:
    if path.suffix == ".npz":
        np.savez(path, **{str(name): table[name].to_numpy() for name in table})
    elif path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_in_order(dataset: Dataset, tmp_path: Path, suffix: str) -> None:
    found = read_joined(write(frame(dataset), tmp_path / f"x{suffix}"), dataset, False)
    assert found.indices.tolist() == dataset.pool.tolist()
    assert found.columns["value"].tolist() == list(range(12))


@pytest.mark.parametrize("by", ["path", "index"])
def test_in_any_order_by_name_or_number(dataset: Dataset, tmp_path: Path, by: str) -> None:
    names = [dataset.images.names[i] for i in dataset.pool]
    table = frame(dataset, **{by: names if by == "path" else dataset.pool}).sample(frac=1, random_state=0)
    found = read_joined(write(table, tmp_path / "x.csv"), dataset, by == "path")
    assert (found.columns["value"] == found.indices).all()
    assert set(found.columns) == {"value"}


def test_names_from_elsewhere_and_other_folders(dataset: Dataset, tmp_path: Path) -> None:
    names = [dataset.images.names[i] for i in dataset.pool]
    table = frame(dataset, path=["C:\\ann\\pets\\" + name.replace("/", "\\") for name in names])
    assert read_joined(write(table, tmp_path / "x.csv"), dataset, False).indices.tolist() == dataset.pool.tolist()
    table = frame(dataset, path=[name.replace("cat/", "wolf/") for name in names])
    with pytest.raises(InputError, match=r"x.csv: 6 are of no image of the data: train/wolf/0.png, train/wolf/1.png, "):
        read_joined(write(table, tmp_path / "x.csv"), dataset, False)
    table = frame(dataset, path=[name.rpartition("/")[2] for name in names])
    with pytest.raises(
        InputError, match=r"x.csv: 6 names are of several images: 0.png \(train/cat/0.png or train/dog/0"
    ):
        read_joined(write(table, tmp_path / "x.csv"), dataset, False)


def test_rows_of_the_whole_data_set(dataset: Dataset, tmp_path: Path) -> None:
    table = pd.DataFrame({"value": range(len(dataset.images))})
    assert len(read_joined(write(table, tmp_path / "x.parquet"), dataset, False).indices) == 18


def test_the_key_is_the_content(dataset: Dataset, tmp_path: Path) -> None:
    keys = {read_joined(write(frame(dataset, more=k), tmp_path / f"{i}.csv"), dataset, False).key
            for i, k in enumerate([0, 0, 1])}  # fmt: skip
    assert len(keys) == 2


BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "too few": (lambda t: t[:-1], "11 rows for 12 pool images"),
    "an unknown path": (lambda t: t.assign(path=["x.png", *t["path"][1:]]), "1 are of no image of the data: x.png"),
    "a path twice": (lambda t: pd.concat([t, t[:1]]), "1 stand there more than once"),
    "a path missing": (lambda t: t[1:], "1 of 12 pool images have no row"),
    "no rows": (lambda t: t[:0], "has no rows"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_what_does_not_fit_is_one_line(dataset: Dataset, tmp_path: Path, what: str) -> None:
    change, message = BROKEN[what]
    names = [dataset.images.names[i] for i in dataset.pool]
    table = frame(dataset) if what == "too few" else frame(dataset, path=names)
    with pytest.raises(InputError, match=message) as error:
        read_joined(write(change(table), tmp_path / "x.csv"), dataset, False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("index", "message"),
    [(["a"] * 12, "no number"), ([99, *range(1, 12)], "no dataset index"), ([0.5, *range(1, 12)], "no dataset index"),
     ([-1, *range(1, 12)], "no dataset index"), ([1, *range(1, 12)], "more than once")],
)  # fmt: skip
def test_wrong_numbers(dataset: Dataset, tmp_path: Path, index: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_joined(write(frame(dataset, index=index), tmp_path / "x.csv"), dataset, False)


def test_files_that_cannot_be_read(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("none.csv", "x.txt"):
        with pytest.raises(InputError, match=r"cannot read|not a file of columns"):
            read_joined(str(tmp_path / name), dataset, False)
    for name in ("x.parquet", "x.npz"):
        (tmp_path / name).write_bytes(b"neither of these")
        with pytest.raises(InputError, match="cannot be read"):
            read_joined(str(tmp_path / name), dataset, False)
    np.savez(tmp_path / "objects.npz", value=np.array([object()] * 12))
    with pytest.raises(InputError, match="cannot be read"):  # nothing is unpickled
        read_joined(str(tmp_path / "objects.npz"), dataset, False)


def test_numbers_of_rows_mean_nothing_where_images_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add a column path"):
        read_joined(write(frame(dataset), tmp_path / "x.csv"), dataset, True)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,cat,cat\na.png,1,0\n")
    with pytest.raises(InputError, match="a column without a name, or two of one name"):
        read_columns(str(tmp_path / "x.csv"))


def test_columns_of_text_stay_text_and_names_are_composed(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(" path,ann,value,cafe\u0301\n001,010,010,1\n", encoding="utf-8-sig")
    path, columns, _ = read_columns(str(tmp_path / "x.csv"), ("ann",))
    assert {name: values.tolist() for name, values in columns.items()} == {
        "path": ["001"], "ann": ["010"], "value": [10], "café": [1],
    }  # fmt: skip
    assert column_of(path, columns, "cafe\u0301", "of").tolist() == [1]


def test_the_guard_against_formulas_is_undone_in_csv_files(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,'=1+1,'-2,value\n'=a.png,'=b,1,-3\n'tis.png,''=c,2,-4\n")
    columns = read_columns(str(tmp_path / "x.csv"))[1]
    assert {name: values.tolist() for name, values in columns.items()} == {
        "path": ["=a.png", "'tis.png"], "=1+1": ["=b", "'=c"], "-2": [1, 2], "value": [-3, -4],
    }  # fmt: skip

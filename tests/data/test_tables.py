from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelwise.config import Study
from labelwise.data import tables
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.data.tables import from_parquet
from labelwise.errors import InputError
from pictures import encoded, picture, write


@pytest.fixture(autouse=True)
def root(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, beside a cache of our own."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def opened(path: Path | str, **options: Any) -> Dataset:
    return open_dataset(Study(data=str(path), **options))


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        opened(path, **options)
    assert str(raised.value).isprintable()
    return str(raised.value)


def pictures(count: int, seed: int = 0) -> list[bytes]:
    return [encoded(picture(seed, i)) for i in range(count)]


def put(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def hub_like(count: int, seed: int = 0, names: tuple[str, ...] = ("no", "yes")) -> datasets.Dataset:
    """A split with the metadata of the hub; labels are 0, 1, 0, 1 ..."""
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    rows = {"img": [{"bytes": b, "path": None} for b in pictures(count, seed)], "label": [i % 2 for i in range(count)]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_files_with_metadata_and_others_beside_them(root: Path) -> None:
    hub_like(20).to_parquet(root / "train-00000-of-00002.parquet")
    hub_like(10, seed=1).to_parquet(root / "train-00001-of-00002.parquet")
    hub_like(6, seed=2).to_parquet(root / "test.parquet")
    put(root / "prelabels.parquet", no=[0.5], yes=[0.5])
    write(root / "README.md", b"")
    write(root / "._train.parquet", b"")
    dataset = opened(root)
    assert dataset.classes == ("no", "yes")
    assert (len(dataset.pool), len(dataset.test)) == (30, 6)
    assert dataset.images.names[0] == "train 0"
    assert dataset.images.names[30] == "test 0"
    assert dataset.notes == ("files of prelabels not used: 1",)
    assert dataset.images.pixels is not None
    np.testing.assert_array_equal(dataset.images.pixels[20], picture(1, 0))
    assert dataset.images.blob is not None
    assert dataset.images.blob(35) == pictures(6, seed=2)[5]


def test_parquet_files_in_other_folders_are_counted(root: Path) -> None:
    hub_like(12).to_parquet(root / "train.parquet")
    for name in ("data", "more"):
        (root / name).mkdir()
        hub_like(6, seed=2).to_parquet(root / name / "test.parquet")
    assert opened(root).seen.unused == {"Parquet files in other folders": 2}


@pytest.mark.parametrize(
    ("train", "test"),
    [("mnist-train", "mnist-test"), ("Train", "Test"), ("cifar_train", "cifar_test"), ("train/0000", "test/0000"),
     ("data/train-00000-of-00001", "data/test-00000-of-00001")],
)  # fmt: skip
def test_files_are_splits_by_known_names(root: Path, train: str, test: str) -> None:
    for name, count in ((train, 20), (test, 6)):
        (root / name).parent.mkdir(exist_ok=True)
        hub_like(count, seed=count).to_parquet(root / f"{name}.parquet")
    dataset = opened(root)
    assert (len(dataset.pool), len(dataset.test)) == (20, 6)
    assert dataset.images.blob is not None
    assert dataset.images.blob(int(dataset.test[0])) == pictures(1, seed=6)[0]


def test_files_that_are_not_clear(root: Path) -> None:
    hub_like(20).to_parquet(root / "train.parquet")
    hub_like(16, seed=1).to_parquet(root / "val.parquet")
    assert "there are train and val, but there is no test set" in refused(root)
    dataset = opened(root, split={"train": "train", "test": "val"})
    assert (len(dataset.pool), len(dataset.test)) == (20, 16)
    dataset = opened(root, split="none")
    assert (len(dataset.pool), len(dataset.test)) == (28, 8)
    assert dataset.notes[0] == "read as one set: train, val"


@pytest.mark.parametrize("names", [["train.parquet"], ["test.parquet"], ["anything.parquet"], ["data/train-0.parquet"]])
def test_without_a_test_split(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        hub_like(20).to_parquet(root / name)
    assert (len(opened(root).pool), len(opened(root).test)) == (16, 4)
    assert opened(root / names[0]).fingerprint == opened(root).fingerprint


@pytest.mark.parametrize(
    ("image", "label", "classes"),
    [
        (lambda blobs: blobs, lambda i: "ab"[i % 2], ("a", "b")),
        (lambda blobs: [{"bytes": b, "path": "x.png"} for b in blobs], lambda i: 10 - i % 2, ("9", "10")),
        (lambda blobs: pa.array(blobs, pa.large_binary()), lambda i: bool(i % 2), ("False", "True")),
    ],
)
def test_without_metadata(root: Path, image: Any, label: Any, classes: tuple[str, ...]) -> None:
    labels = [label(i) for i in range(20)]
    put(root / "x.parquet", image=image(pictures(20)), label=labels, other=list(range(20)))
    dataset = opened(root / "x.parquet")
    assert dataset.classes == classes
    assert [dataset.classes[k] for k in dataset.labels] == [str(value) for value in labels]


def test_labels_of_pandas(root: Path) -> None:
    frame = pd.DataFrame({"image": pictures(20), "label": pd.Categorical(["dog", "cat"] * 10)})
    frame.to_parquet(root / "x.parquet")
    assert opened(root).classes == ("cat", "dog")


def test_groups(root: Path) -> None:
    put(
        root / "x.parquet",
        image=pictures(40),
        label=["a", "b"] * 20,
        group=[i // 4 if i < 32 else None for i in range(40)],
    )
    dataset = opened(root)
    sides = [set((side[side < 32] // 4).tolist()) for side in (dataset.pool, dataset.test)]
    assert not sides[0] & sides[1]
    assert len(dataset.test) == 8
    assert (dataset.test >= 32).sum() in (0, 4, 8)


def test_images_beside_the_table(root: Path) -> None:
    for i, blob in enumerate(pictures(20)):
        write(root / "images" / f"{i}.png", blob)
    put(root / "x.parquet", image=[f"images/{i}.png" for i in range(20)], label=["a", "b"] * 10)
    assert len(opened(root).images) == 20


def test_a_table_cannot_name_files_elsewhere(root: Path) -> None:
    secret = write(root.parent / "secret.png", encoded(picture(1)))
    paths = [{"bytes": None, "path": path} for path in (str(secret), "../secret.png")]
    rows = [{"bytes": b, "path": None} for b in pictures(20)] + paths
    put(root / "x.parquet", image=rows, label=["a", "b"] * 11)
    message = refused(root)
    assert "2 of 22 images cannot be read" in message
    assert "the table names ../secret.png, which is not in its folder" in message


def test_rows_without_an_image(root: Path) -> None:
    put(root / "x.parquet", image=[*pictures(20), None, b"", b"nothing"], label=["a", "b"] * 11 + ["a"])
    assert "train 20 (an empty file); train 21 (an empty file); train 22 (not a readable JPEG" in refused(root)
    assert len(opened(root, skip_unreadable=True).images) == 20


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": pictures(4), "label": [0, 1] * 2}, "no column with an image (looked for image, img, path"),
        ({"image": pictures(4), "kind": [0, 1] * 2}, "no column with a label"),
        ({"image": [1, 2, 3, 4], "label": [0, 1] * 2}, "the column 'image' holds int64; it must hold encoded images"),
        ({"image": pictures(4), "label": [0, 1, None, 1]}, "1 of 4 images have no label"),
        ({"image": pictures(4), "label": ["a", "b", "", "b"]}, "1 of 4 images have no label"),
        ({"image": pictures(4), "label": [0, 1, -1, -1]}, "2 of 4 images have the label -1; say what it is"),
        ({"image": pictures(4), "label": [0.5, 1.5] * 2}, "they must be text or whole numbers"),
        ({"image": pictures(4), "label": [[0], [1]] * 2}, "they must be text or whole numbers"),
        ({"image": pictures(3), "label": [0, 1, 1]}, "class '0' has 1 readable image"),
        ({"image": pictures(3), "label": [1, 1, 1]}, "at least two classes are needed"),
    ],
)
def test_columns_that_cannot_be_used(root: Path, columns: dict[str, Any], message: str) -> None:
    put(root / "x.parquet", **columns)
    assert message in refused(root)


def test_features_under_another_name_are_told_the_name_that_they_need(root: Path) -> None:
    put(root / "a.parquet", vector=[[0.5, 1.0]] * 4, label=[0, 1] * 2)
    assert "features without images need a column 'embedding', a list of numbers a row" in refused(root / "a.parquet")


def test_labels_beyond_the_class_names(root: Path) -> None:
    table = hub_like(20).data.table
    column = pa.array([0, 1, 2, 3] * 5, pa.int64())
    pq.write_table(table.set_column(1, table.schema.field("label"), column), root / "x.parquet")
    assert "a label 2 for 2 class names (0 to 1)" in refused(root)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_damaged_files(root: Path, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    hub_like(20).to_parquet(root / "x.parquet")
    os.truncate(root / "x.parquet", int((root / "x.parquet").stat().st_size * share))
    assert "cannot be read as Parquet: " in refused(root)
    assert capfd.readouterr().err == ""


def test_files_of_different_columns(root: Path) -> None:
    hub_like(20).to_parquet(root / "train.parquet")
    put(root / "test.parquet", picture=pictures(4), label=["no", "yes"] * 2)
    assert "cannot be read as Parquet" in refused(root)


def test_train_and_test_with_different_classes(root: Path) -> None:
    put(root / "train.parquet", image=pictures(9), label=["a", "b", "c"] * 3)
    put(root / "test.parquet", image=pictures(9, seed=1), label=["a", "b", "d"] * 3)
    assert "classes differ: 'd' in test but not in train" in refused(root)
    put(root / "test.parquet", image=pictures(9, seed=1), label=["a", "b", "a"] * 3)
    dataset = opened(root)
    assert "in training only, and not in the test set: 'c'" in dataset.notes
    assert dataset.seen.untested == ("c",)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_copy_is_made_again(root: Path, cache: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    hub_like(20).to_parquet(root / "x.parquet")
    fingerprint = opened(root).fingerprint
    (copy,) = (cache / "tables").rglob("*.arrow")
    if damage == "cut":
        os.truncate(copy, 100)
    else:
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 1  # a picture's bit, or a label's
        copy.write_bytes(content)
    again = opened(root)
    assert [record.message.count("is damaged and is made again") for record in caplog.records] == [1]
    assert again.fingerprint == fingerprint
    assert again.images.blob is not None
    assert again.images.blob(19) == pictures(20)[19]


def hub(monkeypatch: pytest.MonkeyPatch, splits: Any) -> None:
    """Let the hub answer with these splits, or raise this error."""

    def load_dataset(name: str) -> Any:
        assert name == "owner/name"
        if isinstance(splits, Exception):
            raise splits
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(tables, "require_hub", lambda *_, **__: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_a_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {"train": hub_like(20), "validation": hub_like(4, 1), "test": hub_like(6, 2)})
    dataset = opened("hub:owner/name")
    assert dataset.source == "hub:owner/name"
    assert (len(dataset.pool), len(dataset.test)) == (20, 6)
    hint = "--set 'split={train: [train, validation], test: test}'"
    assert dataset.notes == (
        f"validation (validation) is not used; {hint} adds it to the training set",
        "images of the split validation not used: 4",
    )
    merged = opened("hub:owner/name", split={"train": ["train", "validation"], "test": "test"})
    assert (len(merged.pool), len(merged.test)) == (24, 6)
    assert merged.images.names[20] == "validation 0"
    assert merged.images.blob is not None
    assert merged.images.blob(20) == pictures(4, 1)[0]


def test_a_set_of_the_hub_that_was_unpacked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(write(root / f"{i}.png", blob)) for i, blob in enumerate(pictures(20))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    hub(monkeypatch, {"train": datasets.Dataset.from_dict({"image": paths, "label": [0, 1] * 10}, features=features)})
    assert len(opened("hub:owner/name").images) == 20


def test_a_set_of_the_hub_with_one_split(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {"full": hub_like(20)})
    dataset = opened("hub:owner/name")
    assert (len(dataset.pool), len(dataset.test)) == (16, 4)
    assert dataset.images.names[0] == "full 0"


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"a": hub_like(4), "b": hub_like(4)}, "a, b say neither train nor test; say which is which"),
        ({"train": hub_like(4), "validation": hub_like(4)}, "train and validation, but there is no test set"),
        ({"train": hub_like(20), "test": hub_like(4, names=("yes", "no"))}, "classes differ between train and test"),
        (
            {"train": hub_like(20), "test": hub_like(4).remove_columns("label")},
            "the test split lacks the column 'label' of train",
        ),
        (ValueError("Config name is missing.\nPlease pick one"), "hub:owner/name: ValueError: Config name is missing."),
    ],
)
def test_sets_of_the_hub_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, splits: Any, message: str) -> None:
    hub(monkeypatch, splits)
    assert message in refused("hub:owner/name")


def two_labels(count: int = 20, seed: int = 0) -> datasets.Dataset:
    """A split as CIFAR-100 has it: a fine and a coarse label, both with declared names."""
    wide = hub_like(count, seed).rename_column("label", "fine_label").add_column("coarse_label", [0, 1] * (count // 2))
    return wide.cast_column("coarse_label", datasets.ClassLabel(names=["x", "y"]))


def test_of_two_label_columns_the_key_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {"train": two_labels(), "test": two_labels(6, 1)})
    message = refused("hub:owner/name")
    assert "'fine_label' and 'coarse_label' could each be the label; name it" in message
    assert message.endswith("--set columns.label=fine_label")
    assert opened("hub:owner/name", columns={"label": "fine_label"}).classes == ("no", "yes")
    assert opened("hub:owner/name", columns={"label": "coarse_label"}).classes == ("x", "y")


def test_class_names_without_an_image_do_not_stop_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(
        monkeypatch,
        {"train": hub_like(20, names=("no", "yes", "maybe")), "test": hub_like(4, 1, ("no", "yes", "maybe"))},
    )
    dataset = opened("hub:owner/name")
    assert dataset.classes == ("no", "yes")
    assert "1 of 3 class names of the source have no image, and are left out: maybe" in dataset.notes


def test_images_without_a_label_are_left_out_where_the_study_says_so(root: Path) -> None:
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = [{"bytes": b, "path": None} for b in pictures(20)]
    labels = [-1 if i < 4 else i % 2 for i in range(20)]
    datasets.Dataset.from_dict({"img": rows, "label": labels}, features=features).to_parquet(root / "train.parquet")
    hub_like(6, seed=3).map(lambda row: {"label": -1}).to_parquet(root / "test.parquet")
    assert "10 of 26 images have the label -1" in refused(root)
    dataset = opened(root, columns={"minus_one": "unlabelled"})
    assert dataset.images.names[0] == "train 4"
    assert dataset.images.pixels is not None
    np.testing.assert_array_equal(dataset.images.pixels[0], picture(0, 4))
    assert dataset.labels.tolist() == [0, 1] * 8
    assert {"10 images without a label (-1) left out", "no image of the test set has a label: one is set apart"} <= set(
        dataset.notes
    )


@pytest.mark.parametrize("name", ["x.parquet", "photos.parquet"])
def test_a_split_column_counts(root: Path, name: str) -> None:
    sides = ["training"] * 12 + ["valid"] * 2 + ["test"] * 6
    put(root / name, image=pictures(20), label=["a", "b"] * 10, split=sides)
    dataset = opened(root)
    assert (len(dataset.pool), len(dataset.test)) == (12, 6)
    named = {"train": ["training", "valid"], "test": "test"}
    assert len(opened(root, split=named).pool) == 14
    assert len(opened(root, split="none").images) == 20


def test_files_and_a_split_column_that_say_different_things(root: Path) -> None:
    put(root / "train.parquet", image=pictures(10), label=["a", "b"] * 5, split=["train"] * 8 + ["test"] * 2)
    put(root / "test.parquet", image=pictures(4, 1), label=["a", "b"] * 2, split=["test"] * 4)
    assert "by the column of the split, images of the training files are test" in refused(root)
    assert len(opened(root, columns={"split": "split"}).test) == 6


def test_names_of_images_that_match_no_file(root: Path) -> None:
    for i, blob in enumerate(pictures(20)):
        write(root / "images" / f"{i}.png", blob)
    put(root / "x.parquet", id=[str(i) for i in range(20)], label=["a", "b"] * 10)
    assert "20 of 20 images have no file: 0, 1, 2, 3, 4, ...; all of them are found by --set 'columns={image: id, " in (
        refused(root, columns={"image": "id"})
    )
    dataset = opened(root, columns={"image": "id", "folder": "images", "extension": "png"})
    assert dataset.images.pixels is not None
    np.testing.assert_array_equal(dataset.images.pixels[7], picture(0, 7))


def test_columns_are_listed_and_one_part_may_lack_groups(root: Path) -> None:
    put(root / "train.parquet", image=pictures(10), label=["a", "b"] * 5, group=["g"] * 10, note=[1] * 10)
    put(root / "test.parquet", image=pictures(4, 1), label=["a", "b"] * 2, note=[1] * 4)
    listing = from_parquet(root, Study(data=str(root)))
    assert listing.unused["columns (note)"] == 1
    assert listing.groups == ["g"] * 10 + [""] * 4


@pytest.mark.parametrize("data", ["cifar10", "hub:owner/name"])
def test_offline_is_one_line_at_once(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = data.removeprefix("hub:").replace("cifar10", "uoft-cs/cifar10")
    expected = f"the data set {name}: not on this machine, and HF_HUB_OFFLINE is set; name a local copy with --data DIR"
    assert refused(data) == expected


def test_a_copy_of_the_library_is_used_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub" / "owner___my_data").mkdir(parents=True)
    assert tables._cached("owner/MyData")
    assert not tables._cached("owner/other")


@pytest.mark.parametrize("data", ["hub:", "hub:../data", "hub:/etc", "hub:a/b/c", "hub:a b"])
def test_names_that_are_no_sets_of_the_hub(data: str) -> None:
    assert "names no data set; write hub:owner/name" in refused(data)


def test_a_local_folder_is_never_read_in_the_hubs_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (root / "owner" / "name").mkdir(parents=True)
    assert "there is a local owner/name where the hub's owner/name was asked for" in refused("hub:owner/name")

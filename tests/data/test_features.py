"""Features as a source and beside images: what is read is what was written, and what is wrong is said in one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.feature_files import recognises, write
from labelwise.data.features import unlabelled
from labelwise.data.images import unseen
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from pictures import class_folders

pytestmark = pytest.mark.usefixtures("cache")
N, D = 30, 4
LABELS = np.array(["ant", "bee", "cat"])[np.arange(N) % 3]


def rows(seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).standard_normal((N, D)).astype(dtype)


def npz(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "x.npz", **{"embeddings": rows(), "labels": LABELS, **arrays})
    return str(folder / "x.npz")


def lists(values: Any, fixed: bool = True) -> Any:
    flat = pa.array(values.ravel())
    if fixed:
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.ListArray.from_arrays(np.arange(0, flat.__len__() + 1, values.shape[1], dtype=np.int32), flat)


def parquet(folder: Path, metadata: Any = None, **columns: Any) -> str:
    table = pa.table({"embedding": lists(rows()), "label": LABELS.tolist(), **columns})
    pq.write_table(table.replace_schema_metadata(metadata), folder / "x.parquet")
    return str(folder / "x.parquet")


def opened(data: str, **keys: Any) -> Dataset:
    return open_dataset(Study.model_validate({"data": data, **keys}))


def refused(data: str, **keys: Any) -> str:
    with pytest.raises(InputError) as raised:
        opened(data, **keys)
    assert str(raised.value).isprintable()
    return str(raised.value)


@pytest.mark.parametrize("kind", ["npz", "compressed", "parquet", "list column"])
def test_a_file_of_features_is_a_source(tmp_path: Path, kind: str) -> None:
    if kind == "compressed":
        np.savez_compressed(tmp_path / "x.npz", embeddings=rows(), labels=LABELS)
        data = str(tmp_path / "x.npz")
    elif kind == "list column":
        data = parquet(tmp_path, embedding=lists(rows(), fixed=False))
    else:
        data = npz(tmp_path) if kind == "npz" else parquet(tmp_path)
    dataset = opened(data)
    assert dataset.classes == ("ant", "bee", "cat")
    assert dataset.features is not None
    np.testing.assert_array_equal(dataset.features, rows())
    assert dataset.features.dtype == np.float32
    assert dataset.labels.tolist() == [i % 3 for i in range(N)]
    assert len(dataset.test) == 6
    assert not dataset.images.there
    assert dataset.images.names[7] == "row 7"
    assert "the data are features, without images" in dataset.notes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_stay_what_they_are(tmp_path: Path, dtype: Any) -> None:
    values = rows(dtype=dtype)
    found = opened(npz(tmp_path, embeddings=values)).features
    assert found is not None
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, values)


def test_arrays_by_columns_and_whole_numbers(tmp_path: Path) -> None:
    by_columns = np.asfortranarray(rows())
    np.testing.assert_array_equal(opened(npz(tmp_path, embeddings=by_columns)).features, by_columns)  # type: ignore[arg-type]
    counts = np.arange(N * D, dtype=np.uint8).reshape(N, D)
    found = opened(npz(tmp_path, embeddings=counts)).features
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, counts)
    assert "not exact in float32" in refused(npz(tmp_path, embeddings=counts.astype(np.int64) + 2**25))


def test_the_same_values_have_the_same_fingerprint_in_either_file(tmp_path: Path) -> None:
    assert opened(npz(tmp_path)).fingerprint == opened(parquet(tmp_path)).fingerprint
    assert opened(npz(tmp_path, embeddings=rows(1))).fingerprint != opened(parquet(tmp_path)).fingerprint


def test_what_names_a_class(tmp_path: Path) -> None:
    whole = np.array([3, 10, 2])[np.arange(N) % 3]
    assert opened(npz(tmp_path, labels=whole)).classes == ("2", "3", "10")  # by value, and never as positions
    classes = np.array(["dog", "cat", "ant"])
    dataset = opened(npz(tmp_path, labels=np.arange(N) % 3, classes=classes))
    assert dataset.classes == ("dog", "cat", "ant")
    assert dataset.labels[:4].tolist() == [0, 1, 2, 0]
    named = classes[np.arange(N) % 3]
    assert opened(npz(tmp_path, labels=named, classes=classes)).labels[:4].tolist() == [0, 1, 2, 0]
    numbers = opened(npz(tmp_path, labels=1 + np.arange(N) % 2, classes=np.array(["1", "2", "3"])))
    assert [numbers.classes[k] for k in numbers.labels[:3]] == ["1", "2", "1"]  # names where names are numbers
    assert "label 3 for 3 class names" in refused(npz(tmp_path, labels=1 + np.arange(N) % 3, classes=classes))
    wrong = np.where(np.arange(N) == 4, "cow", named)
    assert "1 labels are none of its classes: 'cow'" in refused(npz(tmp_path, labels=wrong, classes=classes))
    assert "a name stands twice in classes" in refused(npz(tmp_path, classes=np.array(["ant", "ant"])))


def test_class_labels_of_the_library_datasets(tmp_path: Path) -> None:
    about = {"info": {"features": {"label": {"names": ["pear", "fig"], "_type": "ClassLabel"}}}}
    data = parquet(tmp_path, {"huggingface": json.dumps(about)}, label=[i % 2 for i in range(N)])
    assert opened(data).classes == ("pear", "fig")


def test_labels_that_are_missing_are_counted(tmp_path: Path) -> None:
    some = [None if i < 3 else str(label) for i, label in enumerate(LABELS)]
    assert "3 of 30 images have no label" in refused(parquet(tmp_path, label=some))
    minus = np.where(np.arange(N) < 4, -1, np.arange(N) % 3)
    assert "4 of 30 images have the label -1" in refused(npz(tmp_path, labels=minus))
    dataset = opened(npz(tmp_path, labels=minus), columns={"minus_one": "unlabelled"})
    assert len(dataset.labels) == 26
    np.testing.assert_array_equal(dataset.features, rows()[4:])  # type: ignore[arg-type]
    assert dataset.images.names[0] == "row 4"
    assert opened(npz(tmp_path, labels=minus), columns={"minus_one": "class"}).classes == ("-1", "0", "1", "2")


def test_a_split_column_is_the_split(tmp_path: Path) -> None:
    split = np.where(np.arange(N) % 5 == 0, "test", "train")
    dataset = opened(parquet(tmp_path, split=split.tolist()))
    assert dataset.test.tolist() == [0, 5, 10, 15, 20, 25]
    split = np.where(np.arange(N) % 5 == 1, "validation", split)
    dataset = opened(npz(tmp_path, split=split))
    assert (len(dataset.pool), len(dataset.test)) == (18, 6)
    np.testing.assert_array_equal(dataset.features, rows()[np.arange(N) % 5 != 1])  # type: ignore[arg-type]
    assert any("validation" in note for note in dataset.notes)
    assert len(opened(npz(tmp_path, split=split), split={"test": "validation"}).test) == 6
    assert len(opened(npz(tmp_path, split=split), split="none").labels) == N
    assert "no column split" in refused(npz(tmp_path), split={"test": "validation"})
    assert "2 rows have no split" in refused(npz(tmp_path, split=np.where(np.arange(N) < 2, "", split)))
    some = np.where(np.arange(N) < 2, "", split)
    assert len(opened(npz(tmp_path, split=some), split="none").labels) == N, "as the message says"
    assert len(opened(npz(tmp_path, split=some), split={"train": "train", "test": "test"}).labels) == 23
    assert len(opened(npz(tmp_path, split=np.full(N, ""))).labels) == N, "nothing is said of any row"
    assert "split" in refused(npz(tmp_path, split=np.where(np.arange(N) < 2, "some", split)))


def test_groups_and_equal_rows_stay_on_one_side(tmp_path: Path) -> None:
    values = rows()
    values[[0, 3, 6]] = values[9]  # of one class
    values[0, :2], values[9, :2] = -0.0, 0.0
    values[[3, 6], :2] = 0.0
    groups = np.array(["" if i < 12 else f"g{i // 6}" for i in range(N)])
    dataset = opened(npz(tmp_path, embeddings=values, groups=groups), test_share="30%")
    is_test = np.isin(np.arange(N), dataset.test)
    for members in ([0, 3, 6, 9], [*range(12, 18)], [*range(18, 24)], [*range(24, 30)]):
        assert len(set(is_test[members])) == 1, members
    assert any("22 images are in groups: scenes or equal rows" in note for note in dataset.notes)
    assert list(dataset.groups or []) == groups.tolist()


def test_equal_rows_of_training_and_test_are_said(tmp_path: Path) -> None:
    values = rows()
    values[5] = values[1]
    dataset = opened(npz(tmp_path, embeddings=values, split=np.where(np.arange(N) % 5 == 0, "test", "train")))
    assert "1 of 6 test images are in the training set too: accuracies are too high" in dataset.notes


def test_names_and_columns_that_are_not_used(tmp_path: Path) -> None:
    names = [f"doc {i}" for i in range(N)]
    dataset = opened(parquet(tmp_path, path=names, score=list(range(N))))
    assert list(dataset.images.names) == names
    assert dataset.seen.unused == {"columns (score)": 1}
    both = opened(parquet(tmp_path, score=list(range(N)), other=lists(rows())))
    assert both.seen.unused == {"columns (score, other)": 2}
    assert "2 rows have the name of another one: doc 0, doc 0" in refused(
        parquet(tmp_path, path=["doc 0"] * 3 + names[3:])
    )
    assert "'label' and 'target' could each be the label" in refused(parquet(tmp_path, target=LABELS.tolist()))
    assert opened(parquet(tmp_path, target=names), columns={"label": "label"}).classes == ("ant", "bee", "cat")
    assert "no column 'lable' (columns.label); did you mean 'label'?" in refused(
        parquet(tmp_path), columns={"label": "lable"}
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS[:-1]}, "labels has 29 values and embeddings has 30 rows"),
        ({"labels": LABELS.astype(object)}, "labels holds Python objects (a pickle), which are never read"),
        ({"embeddings": rows().astype(object)}, "embeddings holds Python objects (a pickle), which are never read"),
        ({"labels": LABELS.reshape(-1, 1)}, "labels has shape (30, 1); one value a row is needed"),
        ({"embeddings": rows().ravel()}, "embeddings has shape (120,); (N, D) is needed"),
        ({"embeddings": rows()[:0], "labels": LABELS[:0]}, "embeddings has no rows"),
        ({"embeddings": rows()[:, :0]}, "embeddings has no rows"),
        ({"embeddings": rows().astype(str)}, "numbers are needed"),
        ({"embeddings": rows() + 1j}, "numbers are needed"),
        ({"embeddings": np.where(np.arange(N)[:, None] % 10 == 7, np.nan, rows())},
         "3 of 30 rows hold NaN or infinite values, the first is row 7"),
        ({"embeddings": np.where(np.arange(N)[:, None] == 2, np.inf, rows())}, "1 of 30 rows hold NaN or infinite"),
        ({"embeddings": rows().astype(np.float64) * 1e20}, "scale them below 1e+15"),
        ({"labels": rows()[:, 0]}, "labels are numbers such as"),
        ({"embedding": rows()}, "both embeddings and embedding are there"),
        ({"names": np.array(["", *"abcdefghijklmnopqrstuvwxyzABC"])}, "1 of 30 rows have no name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message in refused(npz(tmp_path, **arrays))


def test_files_that_are_none(tmp_path: Path) -> None:
    for damaged in (b"", b"no zip file", Path(npz(tmp_path)).read_bytes()[:300]):
        (tmp_path / "y.npz").write_bytes(damaged)
        assert "cannot be read" in refused(str(tmp_path / "y.npz"))
    content = bytearray(Path(npz(tmp_path)).read_bytes())
    content[300] ^= 1  # one bit of the values: the archive's own checksum tells
    (tmp_path / "y.npz").write_bytes(content)
    assert "Bad CRC-32" in refused(str(tmp_path / "y.npz"))
    np.save(tmp_path / "single", rows())
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    assert "a single array; save named ones" in refused(str(tmp_path / "single.npz"))
    np.savez(tmp_path / "z.npz", X=rows(), labels=LABELS)
    assert "no embeddings (N, D); it has X, labels: name them embeddings" in refused(str(tmp_path / "z.npz"))
    np.savez(tmp_path / "z.npz", embeddings=rows(), kinds=LABELS)
    assert "no labels (looked for label, labels, class, target, y); it has embeddings, kinds" in refused(
        str(tmp_path / "z.npz")
    )
    assert "there is no such file" in refused(str(tmp_path / "nowhere.npz"))
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    assert "no embeddings" in refused(str(tmp_path / "empty.npz"))


def test_rows_of_parquet_that_are_no_vectors(tmp_path: Path) -> None:
    values = [[1.0, 2.0]] * N
    for at, bad, message in (
        (3, None, "row 3 (counted from 0) and maybe more hold nothing"),
        (4, [1.0], "row 4 (counted from 0) has 1 numbers and the first has 2"),
        (5, [1.0, None], "1 numbers are missing in rows 0 to 29"),
    ):
        changed: list[Any] = [*values]
        changed[at] = bad
        assert message in refused(parquet(tmp_path, embedding=changed))
    assert "numbers are needed" in refused(parquet(tmp_path, embedding=[["a"]] * N))


def test_a_parquet_file_of_images_is_none_of_features(tmp_path: Path) -> None:
    assert recognises(Path(parquet(tmp_path)))
    assert not recognises(Path(parquet(tmp_path, image=[b"x"] * N)))
    assert not recognises(Path(parquet(tmp_path, image=["a.png"] * N)))
    assert not recognises(tmp_path)


def test_columns_that_hardly_vary_are_said(tmp_path: Path) -> None:
    values = rows(dtype=np.float64)
    values[:, 2] = 1.7e9 + values[:, 2]
    notes = opened(npz(tmp_path, embeddings=values)).notes
    assert any("1 columns of the features vary by less than 1/100,000 of their size" in note for note in notes)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first = opened(npz(tmp_path)).features
    second = opened(npz(tmp_path, embeddings=rows(1)))
    np.testing.assert_array_equal(second.features, rows(1))  # type: ignore[arg-type]
    assert first is not None


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    class_folders(tmp_path / "photos", count=8)
    return tmp_path / "photos"


def test_features_are_joined_to_images_by_path(tmp_path: Path, photos: Path) -> None:
    plain = opened(str(photos))
    names = list(plain.images.names)
    order = np.random.default_rng(0).permutation(len(names))
    values = np.arange(2.0 * len(names), dtype=np.float32).reshape(-1, 2)
    np.savez(tmp_path / "x.npz", embeddings=values[order], path=np.array(names)[order])
    dataset = opened(str(photos), features=str(tmp_path / "x.npz"))
    np.testing.assert_array_equal(dataset.features, values)  # type: ignore[arg-type]
    assert dataset.images.there
    assert dataset.fingerprint != plain.fingerprint
    np.savez(tmp_path / "x.npz", embeddings=values, path=np.array(["extra", *names[1:]]))
    said = refused(str(photos), features=str(tmp_path / "x.npz"))
    assert f"1 of {len(names)} images have no row: {names[0]}" in said
    more = np.concatenate([values, values[:3]])
    np.savez(tmp_path / "x.npz", embeddings=more, path=np.array([*names, "a", "b", "c"]))
    dataset = opened(str(photos), features=str(tmp_path / "x.npz"))
    for notes in (dataset.notes, dataset.seen.notes):
        assert any("3 rows of x.npz are of no image of the data" in note for note in notes)
    np.savez(tmp_path / "x.npz", embeddings=values)
    assert "no column path, by which rows are joined" in refused(str(photos), features=str(tmp_path / "x.npz"))
    assert "not a file of features" in refused(str(photos), features=str(tmp_path / "x.csv"))
    assert "the data are features already" in refused(npz(tmp_path), features=npz(tmp_path))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    values = rows(dtype=np.float16)
    classes = np.array(["zebra", "NA", "10"])
    groups = np.array([f"g{i % 15}" for i in range(N)])
    split = np.where(np.arange(N) % 5 == 0, "test", "train")
    first = opened(npz(tmp_path, embeddings=values, labels=np.arange(N) % 3, classes=np.array(["zebra", "NA", "x"]),
                       groups=groups, split=split, names=np.array([f"a/{i}.png" for i in range(N)])))  # fmt: skip
    assert classes[0] in first.classes
    write(tmp_path / f"y{suffix}", first, values, {"backbone": "any"})
    again = opened(str(tmp_path / f"y{suffix}"))
    assert again.classes == first.classes
    np.testing.assert_array_equal(again.labels, first.labels)
    np.testing.assert_array_equal(again.test, first.test)
    np.testing.assert_array_equal(again.features, values)  # type: ignore[arg-type]
    assert list(again.images.names) == list(first.images.names)
    assert list(again.groups or []) == groups.tolist()
    assert [path.name for path in tmp_path.glob(".*unfinished")] == []


def test_rows_without_a_label_can_be_picked(tmp_path: Path) -> None:
    some = np.where(np.arange(N) < 9, LABELS, "")
    found = unlabelled(Path(npz(tmp_path, labels=some, split=np.where(np.arange(N) < 2, "test", "train"))), unseen)
    assert found.classes == ("ant", "bee", "cat")
    assert list(found.labels) == some.tolist()
    assert found.test.sum() == 2

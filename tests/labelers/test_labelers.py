"""The contract of every labeler, and what each one promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.labelers.annotators import majority, with_confusion, with_errors
from labelwise.labelers.table import LABELERS, build_labeler, check_labeler, labeler_key
from labelwise.parts import Labeling
from pictures import class_folders

MATRIX = np.full((10, 10), 0.02) + np.eye(10) * 0.8


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(Study(data="digits"))


@pytest.fixture(scope="module")
def people(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three annotators' labels of every image, as CIFAR-10N has them."""
    path = tmp_path_factory.mktemp("people") / "people.npz"
    rng = np.random.default_rng(0)
    answers = {f"random_label{i}": np.where(rng.random(1797) < 0.2, rng.integers(0, 10, 1797), dataset.labels)
               for i in (1, 2, 3)}  # fmt: skip
    np.savez(path, **{name: values.astype(np.uint8) for name, values in answers.items()})
    return path


@pytest.fixture(params=[row.name for row in LABELERS])
def labeling(request: pytest.FixtureRequest, people: Path) -> Labeling:
    columns = ["random_label1", "random_label2", "random_label3"]
    given: dict[str, dict[str, Any]] = {
        "truth": {}, "error": {"rate": "20%", "overlap": 3}, "confusion": {"matrix": MATRIX.tolist(), "overlap": 3},
        "file": {"path": str(people), "columns": columns, "overlap": 3},
    }  # fmt: skip
    return Labeling.model_validate({"kind": request.param, **given[request.param]})


def test_contract(labeling: Labeling, dataset: Dataset) -> None:
    row = next(row for row in LABELERS if row.name == labeling.kind)
    assert row.summary
    assert check_labeler(labeling) is None
    labeler = build_labeler(labeling, dataset, 1, False)
    asked = dataset.pool[[7, 3, 500, 11]]
    before = np.random.get_state()[1].copy()  # noqa: NPY002  that is the point
    events = labeler.label(asked)
    assert events.indices.tolist() == asked.tolist()
    assert events.labels.dtype == np.int64
    assert events.source == ("truth" if labeling.kind == "truth" else "annotator")
    again = build_labeler(labeling, dataset, 1, False).label(asked[::-1])  # another arm, another order, after a resume
    assert again.labels.tolist() == events.labels[::-1].tolist()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    whole, other = labeler.label(dataset.pool), build_labeler(labeling, dataset, 2, False).label(dataset.pool)
    assert ((whole.labels >= 0) & (whole.labels < 10)).all()
    wrong = (whole.labels != dataset.labels[dataset.pool]).mean()
    assert wrong == 0 if labeling.kind == "truth" else 0 < wrong < 0.2  # the majority is right more often than one
    if labeling.kind in ("error", "confusion"):
        assert (whole.labels != other.labels).any()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_the_rate_of_errors_is_the_given_one(rate: float) -> None:
    truth = np.random.default_rng(0).integers(0, 10, 20_000)
    found = with_errors(truth, 10, rate, 1, 3)
    assert (found != truth).mean() == pytest.approx(rate, abs=0.012)
    if rate:
        share = np.bincount((found - truth)[found != truth] % 10, minlength=10)[1:] / (found != truth).sum()
        assert np.abs(share - 1 / 9).max() < 0.02  # uniformly over the other classes


def test_who_is_wrong_at_a_low_rate_is_wrong_at_a_higher_one() -> None:
    truth = np.random.default_rng(0).integers(0, 10, 5_000)
    low, high = (with_errors(truth, 10, rate, 1, 3) != truth for rate in (0.1, 0.3))
    assert (high | ~low).all()


def test_an_image_keeps_its_answer_when_the_data_set_grows() -> None:
    truth = np.random.default_rng(0).integers(0, 10, 500)
    assert with_errors(truth, 10, 0.3, 3, 1)[:400].tolist() == with_errors(truth[:400], 10, 0.3, 3, 1).tolist()


def test_three_annotators_make_fewer_errors_by_majority() -> None:
    truth = np.random.default_rng(0).integers(0, 10, 20_000)
    # two of three wrong and alike, or all three different (3 right-first orders of 6 ways) or wrong
    one, three = ((with_errors(truth, 10, 0.3, k, 3) != truth).mean() for k in (1, 3))
    assert one == pytest.approx(0.3, abs=0.01)
    p, n = 0.3, 9
    right = (1 - p) ** 3 + 3 * (1 - p) ** 2 * p + 3 * (1 - p) * p**2 * (1 - 1 / n) / 3
    assert three == pytest.approx(1 - right, abs=0.01)


def test_majority_and_ties() -> None:
    answers = np.array([[0, 1, 2], [1, 1, 0], [1, 2, 1]])
    assert majority(answers).tolist() == [1, 1, 2]  # three different answers: the one that came first


def test_a_confusion_matrix_is_what_comes_out() -> None:
    truth = np.random.default_rng(0).integers(0, 3, 30_000)
    matrix = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    found = with_confusion(truth, matrix, 1, 0)
    for k in range(3):
        shares = np.bincount(found[truth == k], minlength=3) / (truth == k).sum()
        assert np.abs(shares - matrix[k]).max() < 0.015


def test_a_confusion_matrix_from_a_file(dataset: Dataset, tmp_path: Path) -> None:
    head = ",".join(["class", *dataset.classes])
    lines = [",".join([name, *map(str, row)]) for name, row in zip(dataset.classes, MATRIX, strict=True)]
    (tmp_path / "matrix.csv").write_text("\n".join([head, *lines]))
    from_file = Labeling(kind="confusion", path=str(tmp_path / "matrix.csv"))
    given = Labeling.model_validate({"kind": "confusion", "matrix": MATRIX.tolist()})
    both = [build_labeler(one, dataset, 0, False).label(dataset.pool).labels for one in (from_file, given)]
    assert (both[0] == both[1]).all()
    assert labeler_key(from_file) != labeler_key(given) == ""


def test_one_of_several_people_is_drawn_for_each_image(dataset: Dataset, people: Path) -> None:
    columns = ("random_label1", "random_label2", "random_label3")
    found = build_labeler(Labeling(kind="file", path=str(people), columns=columns), dataset, 0, False)
    labels = found.label(dataset.pool).labels
    with np.load(people) as given:
        same = np.stack([given[name][dataset.pool] == labels for name in columns])
    assert same.any(axis=0).all()
    assert same.mean(axis=1).max() < 0.95


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "eror"}, "did you mean 'error'"),
        ({"kind": "error"}, "error needs rate"),
        ({"kind": "truth", "overlap": 3}, "truth has no overlap"),
        ({"kind": "error", "rate": 0.1, "path": "x.csv"}, "error has no path"),
        ({"kind": "confusion"}, "needs either a matrix or a path"),
        ({"kind": "file", "path": "x.csv", "columns": "a", "overlap": 2}, "cannot have an overlap of 2"),
        ({"kind": "file", "path": "x.csv", "columns": ["a", "a"]}, "has a column twice"),
        ({"kind": "confusion", "matrix": [[1.0]]}, "a matrix of 10 rows"),
        ({"kind": "confusion", "matrix": [[0.2] * 10] * 10}, "sum to 1"),
    ],
)
def test_wrong_configurations_are_one_line(dataset: Dataset, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_labeler(Labeling.model_validate(given), dataset, 0, False)


def test_wrong_files_are_one_line(dataset: Dataset, tmp_path: Path, people: Path) -> None:
    def build(path: Path, column: str) -> None:
        build_labeler(Labeling(kind="file", path=str(path), columns=(column,)), dataset, 0, False)

    with pytest.raises(InputError, match="no column of labels 'worse'"):
        build(people, "worse")
    np.savez(tmp_path / "short.npz", a=np.zeros(5, np.uint8))
    with pytest.raises(InputError, match="5 rows for"):
        build(tmp_path / "short.npz", "a")
    np.savez(tmp_path / "high.npz", a=np.full(1797, 10, np.uint8))
    with pytest.raises(InputError, match="1,797 values of the column 'a' are no class: '10'"):
        build(tmp_path / "high.npz", "a")


def test_cifar10n(cifar10: Path) -> None:
    """The real people's labels: as wrong as their authors say."""
    data = open_dataset(Study(data=str(cifar10)))
    three = ("random_label1", "random_label2", "random_label3")
    for columns, wrong in ((("worse_label",), 0.402), (three, 0.176), (("aggre_label",), 0.090)):
        labeling = Labeling(kind="file", path=str(cifar10 / "cifar10n.npz"), columns=columns)
        labels = build_labeler(labeling, data, 0, False).label(data.pool).labels
        assert (labels != data.labels[data.pool]).mean() == pytest.approx(wrong, abs=0.004)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Classes 0 to 11, of which text sorts 10 and 11 before 2; eight images each."""
    return open_dataset(Study(data=str(class_folders(tmp_path_factory.mktemp("data"), list(map(str, range(12))), 8))))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_labels_that_are_numbers_are_the_classes_of_these_names(numbered: Dataset, tmp_path: Path, suffix: str) -> None:
    names = np.array([int(numbered.classes[k]) for k in numbered.labels])
    paths = list(numbered.images.names)
    if suffix == ".npz":
        np.savez(tmp_path / "x.npz", path=np.array(paths), ann=names)
    elif suffix == ".csv":
        pd.DataFrame({"path": paths, "ann": names}).to_csv(tmp_path / "x.csv", index=False)
    else:
        pd.DataFrame({"path": paths, "ann": names}).to_parquet(tmp_path / "x.parquet")
    labeling = Labeling(kind="file", path=str(tmp_path / f"x{suffix}"), columns=("ann",))
    found = build_labeler(labeling, numbered, 0, False).label(np.arange(len(paths)))
    assert found.labels.tolist() == numbered.labels.tolist()


def test_zeros_before_numbers_are_kept(tmp_path: Path) -> None:
    data = open_dataset(Study(data=str(class_folders(tmp_path / "data", ("001", "002", "010"), 8))))
    table = pd.DataFrame({"path": data.images.names, "ann": [data.classes[k] for k in data.labels]})
    table.to_csv(tmp_path / "x.csv", index=False)
    labeling = Labeling(kind="file", path=str(tmp_path / "x.csv"), columns=("ann",))
    assert (build_labeler(labeling, data, 0, False).label(data.pool).labels == data.labels[data.pool]).all()
    table.assign(ann=table["ann"].astype(int)).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InputError, match="24 values of the column 'ann' are no class: '1', '1', '1'; a number"):
        build_labeler(labeling, data, 0, False)


def test_rows_of_a_matrix_go_by_names_with_zeros(tmp_path: Path) -> None:
    data = open_dataset(Study(data=str(class_folders(tmp_path / "data", ("001", "002"), 8))))
    (tmp_path / "m.csv").write_text("class,001,002\n001,0,1\n002,1,0\n")
    labeling = Labeling(kind="confusion", path=str(tmp_path / "m.csv"))
    assert (build_labeler(labeling, data, 0, False).label(data.pool).labels == 1 - data.labels[data.pool]).all()

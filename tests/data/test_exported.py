"""labelwise's own CSV of answers as a study's table; its trip there and back is in labelling/exchange/test_trips.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from labelwise.data.dataset import Dataset
from labelwise.data.exported import STATUSES
from labelwise.data.sources import open_dataset
from labelwise.errors import InputError
from labelwise.labelling.events import ANSWERS
from labelwise.study_file import study_of
from pictures import encoded, picture, write

pytestmark = pytest.mark.usefixtures("cache")
HEAD = "path,label,status,annotator,source"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for i in range(12):
        write(tmp_path / f"{i}.png", encoded(picture(i)))
    return tmp_path / "labels.csv"


def answers(status: str = "label", first: int = 0) -> list[str]:
    return [f"{i}.png,{'ab'[i % 2]},{status},anna,picked" for i in range(first, 12)]


def opened(table: Path, *lines: str, head: str = HEAD, **keys: Any) -> Dataset:
    table.write_text("\n".join([head, *lines]) + "\n")
    return open_dataset(study_of(str(table), [f"{key}={value}" for key, value in keys.items()]))


def refused(*given: Any, **keys: Any) -> str:
    with pytest.raises(InputError) as raised:
        opened(*given, **keys)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_statuses_of_answers_come_first() -> None:
    assert STATUSES[:3] == ANSWERS


def test_most_people_say_the_label_and_a_review_decides(table: Path) -> None:
    said = [*answers(first=2), "0.png,a,label,anna,", "0.png,b,label,ben,", "0.png,b,label,carl,",
            "1.png,b,label,anna,", "1.png,b,label,ben,", "1.png,a,label,carl,review"]  # fmt: skip
    dataset = opened(table, *said)
    labels = dict(zip(dataset.images.names, dataset.labels.tolist(), strict=True))
    assert (labels["0.png"], labels["1.png"], labels["2.png"], labels["3.png"]) == (1, 0, 0, 1)
    assert any("12 images have a label, that of most people or of a review" in note for note in dataset.notes)


def test_the_order_of_classes_and_a_class_of_any_name(table: Path) -> None:
    names = ["z", "-1", "nan"]
    said = [f"{i}.png,{names[i % 3]},label,anna," for i in range(12)]
    assert opened(table, *(f",{name},class,," for name in names), *said).classes == ("z", "-1", "nan")
    assert "4 of 12 images have the label -1" in refused(table, ",z,class,,", ",nan,class,,", *said)
    assert "the label 'nan' reads like none" in refused(table, ",z,class,,", ",-1,class,,", *said)
    assert "have no label (line 4, " in refused(table, *said)


def test_somebody_elses_status_is_a_column_like_others(table: Path) -> None:
    dataset = opened(table, *answers("done"))
    assert dataset.seen.unused == {"columns (status, annotator, source)": 3}
    assert len(dataset.images) == 12


def test_an_export_with_a_strange_status_is_refused_since_predictions_would_be_labels(table: Path) -> None:
    lines = [*answers("label", first=6), *(f"{i}.png,a,predicted,,model" for i in range(5)), "5.png,a,Label,anna,"]
    message = refused(table, *(f"{line}," for line in lines), head=HEAD + ",sha256")
    assert "'Label' (line 13) is no status; did you mean 'label'?" in message
    assert len(opened(table, *(f"{line}," for line in lines[:-1]), head=HEAD + ",sha256").images) == 6


def test_without_a_test_slice_nothing_is_said_of_one(table: Path) -> None:
    assert not any("of the test set has a label" in note for note in opened(table, *answers()).notes)
    one = opened(table, *answers(first=1), "0.png,,skip,anna,test")
    assert "no image of the test set has a label: one is set apart" in one.notes


def test_one_person_answers_once(table: Path) -> None:
    message = refused(table, *answers(), "3.png,a,label,Anna,")
    assert "two answers by Anna for 3.png (line 14); keep one" in message


def test_no_label_at_all(table: Path) -> None:
    assert "an export of labelwise in which no image has a label" in refused(table, *answers("skip"))


def test_a_split_column_counts_before_the_slice(table: Path) -> None:
    sides = [f"{line},{'test' if i < 4 else 'train'}" for i, line in enumerate(answers())]
    dataset = opened(table, *sides, head=HEAD + ",split")
    assert dataset.test.tolist() == [0, 1, 2, 3]


def test_an_image_that_was_changed_since_is_unreadable(table: Path) -> None:
    hashes = [hashlib.sha256((table.parent / f"{i}.png").read_bytes()).hexdigest() for i in range(12)]
    lines = [f"{line},{sha}" for line, sha in zip(answers(), hashes, strict=True)]
    assert len(opened(table, *lines, head=HEAD + ",sha256").images) == 12
    write(table.parent / "5.png", encoded(picture(50)))
    assert "5.png (the file was changed since it was labelled" in refused(table, *lines, head=HEAD + ",sha256")
    assert len(opened(table, *lines, head=HEAD + ",sha256", skip_unreadable="true").images) == 11

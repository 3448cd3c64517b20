"""Which columns of a table are taken, and when none is."""

from __future__ import annotations

from typing import Any

import pytest

from labelwise.data.columns import choose
from labelwise.errors import InputError
from labelwise.parts import Columns


def chosen(names: list[str], images: tuple[str, ...] = (), classes: tuple[str, ...] = (), **keys: Any) -> list[str]:
    found = choose("table", names, Columns(**keys), images, classes)
    return [found.image, found.label, found.group, found.split]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["path", "label"], ["path", "label", "", ""]),
        (["label", "Split", "group", "path", "note"], ["path", "label", "group", "Split"]),
        (["file_name", "target"], ["file_name", "target", "", ""]),
        (["image", "fine_label", "superclass"], ["image", "fine_label", "", ""]),
        (["", "path", "label", ""], ["path", "label", "", ""]),
    ],
)
def test_known_names(names: list[str], expected: list[str]) -> None:
    assert chosen(names) == expected


def test_a_declared_type_and_a_known_name_decide_together() -> None:
    assert chosen(["left", "image", "label", "gender"], ("left", "image"), ("label", "gender"))[:2] == [
        "image",
        "label",
    ]
    assert chosen(["picture", "kind"], ("picture",), ("kind",))[:2] == ["picture", "kind"]
    assert chosen(["img", "label", "class"], ("img",), ("label",))[:2] == ["img", "label"]


@pytest.mark.parametrize(
    ("names", "classes", "which"),
    [
        (["path", "label", "class"], (), "'label' and 'class' could each be the label; name it"),
        (["path", "label", "Label"], (), "'label' and 'Label' could each be the label"),
        (["path", "label", "predicted_label"], (), "'label' and 'predicted_label' could each be the label"),
        (["img", "fine_label", "coarse_label"], ("fine_label", "coarse_label"),
         "'fine_label' and 'coarse_label' could each be the label; name it, such as --set columns.label=fine_label"),
        (["img", "label", "gender"], ("gender",), "'label' and 'gender' could each be the label"),
        (["path", "image", "label"], (), "'path' and 'image' could each be the image; name it"),
        (["path", "label", "split", "Split"], (), "'split' and 'Split' could each be the split"),
        (["path", "label", "label"], (), "two columns 'label'; rename one"),
        (["path", "predicted_label"], (), "no column with a label"),
        (["id", "label"], (), "no column with an image"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused_by_name(names: list[str], classes: tuple[str, ...], which: str) -> None:
    with pytest.raises(InputError, match=r"^table: ") as error:
        chosen(names, (), classes)
    assert which in str(error.value)


def test_the_keys_decide() -> None:
    names = ["id", "fine_label", "coarse_label", "patient", "fold"]
    keys = {"image": "id", "label": "coarse_label", "group": "patient", "split": "fold"}
    assert chosen(names, **keys) == ["id", "coarse_label", "patient", "fold"]
    for wrong, message in (({"label": "corse_label"}, r"no column 'corse_label' \(columns.label\); did you mean 'c"),
                           ({"label": "id"}, "the column 'id' cannot be two things")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            chosen(names, **{**keys, **wrong})


def test_what_is_not_used_is_listed_and_odd_names_are_said() -> None:
    found = choose("table", ["file", "class", "a", ""], Columns())
    assert found.unused == {"columns (a, (without a name))": 2}
    assert found.notes == ("columns that were read: image from 'file', label from 'class'",)

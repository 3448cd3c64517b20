"""What a table says of an image, read as a class: spellings, numbers, and what is no label."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.data.labels import Classes, codes_of, distinct, finder, in_order, numbered, plain, read_labels, same
from labelwise.errors import InputError


def read(labels: Sequence[Any], minus_one: str = "", declared: Sequence[str] | None = None) -> Classes:
    values, codes = distinct(labels)
    return read_labels(values, codes, "table", minus_one, lambda row: f"row {row}", declared)


def named(found: Classes) -> list[str | None]:
    return [None if k < 0 else found.names[k] for k in found.labels.tolist()]


CAFE = ["café", "cafe\u0301", " café", "café\u00a0", "\ufeffcafé"]


def test_spaces_and_unicode_forms_are_one_class_and_said() -> None:
    found = read([*CAFE, "café", "hot  dog", "hot dog"])
    assert found.names == ("café", "hot dog")
    assert found.labels.tolist() == [0] * 6 + [1, 1]
    (note,) = found.notes
    assert note.startswith(
        "classes that are written in several ways, each read as one: café: 'caf\\xe9' (2), 'cafe\\u0301' (1)"
    )


def test_the_spelling_of_most_images_is_the_name() -> None:
    assert read(["CO₂", "CO₂", "CO2", "ﬁsh"]).names == ("CO₂", "ﬁsh")
    assert read(["CO₂", "CO2", "CO2"]).names == ("CO2",)


def test_small_and_capital_letters_are_different_and_said() -> None:
    found = read(["cat", "Cat", "dog"])
    assert found.names == ("Cat", "cat", "dog")
    assert found.notes == ("classes that differ in capital letters alone are different ones: Cat and cat",)


@pytest.mark.parametrize("nothing", ["", "  ", None, float("nan"), "null", "None", "NaN", "nan", "NA", "<NA>"])
def test_what_says_nothing_is_counted_and_refused(nothing: Any) -> None:
    with pytest.raises(
        InputError, match=r"table: 2 of 5 images have no label \(row 1, row 3\); remove them or give"
    ) as e:
        read(["cat", nothing, "dog", nothing, "cat"])
    written = isinstance(nothing, str) and nothing.strip()
    assert ("is a class, write it in another way" in str(e.value)) == bool(written)


def test_none_in_small_letters_is_a_class() -> None:
    assert read(["none", "some"]).names == ("none", "some")


@pytest.mark.parametrize("minus", [-1, "-1", " -1", -1.0, "-1.0"])
def test_minus_one_is_what_the_study_says(minus: Any) -> None:
    labels = [minus, 0, minus, 1] if isinstance(minus, int | float) else [minus, "0", minus, "1"]
    with pytest.raises(
        InputError, match=r"2 of 4 images have the label -1; say what it is: --set columns.minus_one=cl"
    ):
        read(labels)
    assert read(labels, "class").names == ("-1", "0", "1")
    found = read(labels, "unlabelled")
    assert named(found) == [None, "0", None, "1"]
    assert found.notes[-1] == "2 images without a label (-1) left out"


def test_whole_numbers_with_a_fraction() -> None:
    assert read([3.0, 10.0, 3.0]).names == ("3", "10")
    found = read(["3.0", "10.0", "3"])
    assert found.names == ("3", "10")
    assert found.labels.tolist() == [0, 1, 0]
    assert found.notes[0] == "labels are whole numbers written with a fraction (3.0), and read without it"
    assert read(["1.0", "1.5"]).names == ("1.0", "1.5")


@pytest.mark.parametrize("labels", [["1", "01"], ["1.0", "1.5", "1"]])
def test_two_names_of_one_number_are_refused(labels: list[str]) -> None:
    with pytest.raises(InputError, match="are the same number; write both alike"):
        read(labels)


@pytest.mark.parametrize("labels", [[0.5, 1.5], [b"a", b"b"], [float("inf"), 1.0]])
def test_what_is_no_class(labels: list[Any]) -> None:
    with pytest.raises(InputError, match="they must be text or whole numbers"):
        read(labels)


def test_truth_values_and_zeros_before_numbers_stay() -> None:
    assert read([True, False]).names == ("False", "True")
    assert read(["010", "002"]).names == ("002", "010")


def test_names_of_the_source_without_an_image_are_left_out() -> None:
    found = read([2, 0, 2], declared=["b ", "unused", "a"])
    assert found.names == ("b", "a")
    assert found.labels.tolist() == [1, 0, 1]
    assert found.notes == ("1 of 3 class names of the source have no image, and are left out: unused",)
    assert read([0, 1], declared=["None", "-1"]).names == ("None", "-1")
    with pytest.raises(InputError, match=r"a label 3 for 3 class names \(0 to 2\)"):
        read([0, 3], declared=["a", "b", "c"])
    assert read([1, -1], "class", declared=["a", "b"]).names == ("-1", "b")


TEXT_ORDER = tuple(sorted(map(str, range(12))))


def test_numbers_that_are_names_are_never_indices() -> None:
    said = np.array([2, 10, 11, 0])
    for classes in (TEXT_ORDER, in_order(TEXT_ORDER)):
        for values in (said, said.astype(float), said.astype(str), said.astype(np.uint8), said.astype(object)):
            assert [classes[k] for k in codes_of(values, classes)] == ["2", "10", "11", "0"]
    assert codes_of(np.array([0, 1, 2]), ("1", "2", "3")).tolist() == [-1, 0, 1]
    assert codes_of(np.array([1, 2]), ("001", "002")).tolist() == [-1, -1]
    assert codes_of(np.array(["001", "002"]), ("001", "002")).tolist() == [0, 1]


def test_numbers_are_indices_where_no_class_is_a_number() -> None:
    classes = ("cat", "dog", "emu")
    for values in (np.array([2, 0]), np.array(["2", "0"]), np.array([2.0, 0.0])):
        assert codes_of(values, classes).tolist() == [2, 0]
    assert codes_of(np.array([3, -1, 0]), classes).tolist() == [-1, -1, -1]
    assert codes_of(np.array(["cat", "1"]), classes).tolist() == [0, -1]
    assert codes_of(np.array([True, False]), classes).tolist() == [-1, -1]
    assert codes_of(np.array([0.5, np.nan]), classes).tolist() == [-1, -1]
    assert numbered(("cat", "1.5"))
    assert not numbered(("cat", "v1"))


def test_names_are_found_in_any_spelling_but_not_among_two() -> None:
    find = finder(["café", "m²", "m2"])
    assert [find(name) for name in ("cafe\u0301", " café", "m²", "m2", "ｍ2", "tea")] == [0, 0, 1, 2, -1, -1]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1))
def test_every_label_keeps_its_spelling(labels: list[str]) -> None:
    try:
        found = read(labels, "class")
    except InputError:
        return
    assert [same(label) for label in labels if not label.strip().startswith("-1")] == [
        same(found.names[k])
        for label, k in zip(labels, found.labels, strict=True)
        if not label.strip().startswith("-1")
    ] or any("fraction" in note for note in found.notes)
    assert len({same(name) for name in found.names}) == len(found.names)


@given(st.text())
def test_plain_is_stable(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert unicodedata.is_normalized("NFC", plain(text))


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 31), st.randoms(use_true_random=False))
def test_names_that_are_numbers_come_back_from_any_order_of_classes(values: list[int], count: int, lot: Any) -> None:
    classes = [str(k) for k in range(count)]
    lot.shuffle(classes)
    found = codes_of(np.array(values), classes)
    assert [classes[k] if k >= 0 else None for k in found] == [str(v) if v < count else None for v in values]


def test_a_million_labels_are_read_at_once() -> None:
    codes = np.arange(1_000_000) % 3
    assert read_labels(["a", "b ", "b"], codes, "table", "", str).labels.tolist()[:4] == [0, 1, 1, 0]

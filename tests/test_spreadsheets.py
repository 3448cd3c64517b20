from __future__ import annotations

import pytest

from labelwise.spreadsheets import guarded, guarded_value, undone, unguarded


@pytest.mark.parametrize(
    "cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "'=1", "''+", "'", "'tis", "a=b", "", "x"]
)
def test_the_formula_guard_is_undone(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
    assert not guarded(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert guarded(cell) == cell or cell.lstrip("'")[0] in "=+-@\t\r\n"


def test_numbers_stay_numbers() -> None:
    assert [guarded_value(value) for value in (-1, -0.5, None, "-1")] == [-1, -0.5, None, "'-1"]


def test_what_was_undone_is_said() -> None:
    assert undone(["=1", "'tis", "a"]) == []
    (note,) = undone(["'=1", "'=1", "''-2", "'+3", "'@4"])
    assert note == "texts that a quote guards against spreadsheets were read without it: '=1, ''-2, '+3, ..."

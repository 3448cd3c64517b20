from __future__ import annotations

import pytest

from labelwise.spreadsheets import guarded, guarded_value, unguarded


@pytest.mark.parametrize(
    "cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "'=1", "''+", "'", "'tis", "a=b", "", "x"]
)
def test_the_formula_guard_is_undone(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
    assert not guarded(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert guarded(cell) == cell or cell.lstrip("'")[0] in "=+-@\t\r\n"


def test_numbers_stay_numbers() -> None:
    assert [guarded_value(value) for value in (-1, -0.5, None, "-1")] == [-1, -0.5, None, "'-1"]

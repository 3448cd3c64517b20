"""Cells that spreadsheets would run: what comes from outside may begin like a formula, in every CSV that we write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""Cells that begin so are run as formulas by spreadsheets; with quotes before it, so that the guard can be undone."""


def guarded(cell: str) -> str:
    """Put a quote before what a spreadsheet would take for a formula (OWASP, CSV injection)."""
    return "'" + cell if FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """Undo `guarded`; other cells stay what they are."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell, 1) else cell


def guarded_value(value: T) -> T | str:
    """Guard a value if it is a text; numbers stay numbers, negative ones too."""
    return guarded(value) if isinstance(value, str) else value


def undone(cells: Iterable[str]) -> list[str]:
    """Return a note on cells that `unguarded` reads in another way than they are written, or nothing."""
    found = list(dict.fromkeys(cell for cell in cells if unguarded(cell) != cell))
    shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return [f"texts that a quote guards against spreadsheets were read without it: {shown}"] if found else []

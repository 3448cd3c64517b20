"""Numbers for people: shares as per cent, differences as points, seconds and counts, p-values."""

from __future__ import annotations

import math
from collections.abc import Iterable

SHARES = ("accuracy", "macro_f1", "ece", "area")
"""Columns that are shares of 1: shown in per cent, their differences in points."""
NAMES = {
    "accuracy": "accuracy", "macro_f1": "macro F1", "loss": "loss", "ece": "calibration error",
    "area": "accuracy along the curve", "seconds": "seconds",
}  # fmt: skip


def number(value: float, column: str) -> str:
    """Return a value without its unit: 72.5 for an accuracy of 0.725, 0.846 for a loss, 12,500 for a count."""
    if math.isnan(value):
        return "–"
    if column in SHARES:
        return _fixed(value * 100, 1)
    if column == "loss":
        return _fixed(value, 3)
    if column.startswith("seconds"):
        return seconds(value)
    if column == "price":
        return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """Return seconds with about three digits: 0.013, 2.41, 173, 12,500."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def change(value: float, column: str) -> str:
    """Return a difference with its sign and no unit: +0.5 points of accuracy, -0.012 of loss."""
    text = number(value, column)
    return text if math.isnan(value) or text.startswith("-") or not text.strip("0.") else f"+{text}"


def interval(low: float, high: float, column: str) -> str:
    """Return ` [71.9, 73.1]`, or nothing where there is no interval."""
    return "" if math.isnan(low) else f" [{number(low, column)}, {number(high, column)}]"


def unit(column: str, difference: bool = False) -> str:
    """Return the unit to write behind a value: ` %`, ` points`, ` s`, or nothing."""
    if column in SHARES:
        return " points" if difference else " %"
    return " s" if column.startswith("seconds") else ""


def p_value(p: float) -> str:
    """Return `p = 0.031` with two digits that matter, `p < 0.001`, or `no p`."""
    if math.isnan(p):
        return "no p"
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def count(n: int, noun: str, several: str = "") -> str:
    """Return `1 seed`, `5 seeds`, `1,500 labels`. several: the plural where it does not end in s."""
    return f"{n:,} {noun if n == 1 else several or f'{noun}s'}"


def percent(share: float) -> str:
    """Return a share in whole per cent: 51 for 0.514."""
    return "–" if math.isnan(share) else _fixed(share * 100, 0)


def span(numbers: Iterable[float]) -> str:
    """Return `1,500`, or `1,480 to 1,500` where they differ."""
    found = [int(number) for number in numbers]
    return f"{min(found):,}" if min(found) == max(found) else f"{min(found):,} to {max(found):,}"


def listed(names: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # never -0.0

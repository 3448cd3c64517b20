"""Figures and tables of many arms, and of values at the end of what is possible."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from labelwise.config import Study
from labelwise.report.figures import curves_figure
from labelwise.report.limits import possible
from labelwise.report.style import arm_styles
from labelwise.report.tables import Cell, Table, _mean

STRATEGIES = ("uncertainty", "margin", "entropy", "entropy_typicality", "typiclust", "probcover", "coreset", "badge")


def test_no_two_arms_of_a_panel_have_one_colour_and_the_references_are_in_each() -> None:
    arms = ["stratified", "random", *STRATEGIES]
    styles = arm_styles(Study.model_validate({"arms": arms}))
    rows = [(arm, n, 0.5, 0.4, 1.2) for arm in arms for n in (10, 20)[: 1 if arm == "stratified" else 2]]
    curves = pd.DataFrame(rows, columns=["arm", "labels", "mean", "low", "high"])
    figure = curves_figure("3%", curves, "accuracy", styles, "labels bought")
    assert len(figure.subfigs) == 2
    found = []
    for panel in figure.subfigs:
        (axes,), (legend,) = panel.axes, panel.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert {"stratified", "random"} < set(names)
        assert len({styles[name].color for name in names}) == len(names)
        assert axes.get_xlabel() == "labels bought"
        assert axes.dataLim.ymax <= 100, "no accuracy above 100 % is drawn"
        found += [name for name in names if name in STRATEGIES]
    assert sorted(found) == sorted(STRATEGIES)
    assert len(curves_figure("3%", curves[curves["arm"] == "margin"], "accuracy", styles).subfigs) == 1


@pytest.mark.parametrize(("column", "low", "high", "said"), [
    ("accuracy", 0.97, 1.02, "[97.0, 100.0]"), ("ece", -0.01, 0.02, "[0.0, 2.0]"),
    ("seconds", -3.0, 200.0, "[0.000, 200]"),
    ("loss", -0.1, 0.2, "[0.000, 0.200]"), ("accuracy", math.nan, math.nan, ""),
])  # fmt: skip
def test_intervals_are_cut_at_what_is_possible(column: str, low: float, high: float, said: str) -> None:
    assert _mean({"mean": 0.5, "low": low, "high": high}, column).small == said
    assert possible(-1.0, "accuracy") == 0


def test_a_wide_table_of_few_lines_is_turned() -> None:
    rows = [[Cell(name, small), *[Cell(f"{name}{i}") for i in range(9)]] for name, small in (("a", ""), ("b", "full"))]
    table = Table(["row", *map(str, range(9))], rows, 1)
    turned = table.turned()
    assert table.wide
    assert not turned.wide
    assert turned.head == ["", "a", "b, full"]
    assert [[cell.text for cell in line] for line in turned.rows[:2]] == [["0", "a0", "b0"], ["1", "a1", "b1"]]
    assert turned.turned() == turned

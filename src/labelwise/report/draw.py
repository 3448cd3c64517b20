"""Draws every figure of a report: files for papers, and the same drawings for the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

from labelwise.analysis.picks import most_unequal
from labelwise.analysis.words import NAMES
from labelwise.report import figures
from labelwise.report.content import Content
from labelwise.report.style import RC, arm_styles
from labelwise.report.svg import save

CURVES = ("accuracy", "macro_f1", "loss")
CLASSES_SHOWN = 20
"""More classes than this are not readable in a figure; the table has all."""


@dataclass(frozen=True)
class Drawn:
    """A figure on the page: its files' name, what it shows, and its drawing."""

    name: str
    caption: str
    svg: Markup


def draw(content: Content, folder: Path) -> dict[str, list[Drawn]]:
    """Write all figures into the folder; return them by kind: differences, accuracy, macro_f1, loss, seconds, classes.

    Each kind has a figure for each row of the study that has finished runs.
    """
    drawn: dict[str, list[Drawn]] = {}
    with matplotlib.style.context(["default", RC]):
        for row in content.rows:
            for kind, caption, figure in _figures(content, row):
                name = f"{kind}-{row.replace('%', 'pct').replace('/', '-')}"
                svg = Markup(save(figure, folder, name, f"{caption}, row {row}"))  # made and escaped by us
                drawn.setdefault(kind, []).append(Drawn(name, caption, svg))
    return drawn


def _figures(content: Content, row: str) -> Iterator[tuple[str, str, Figure]]:
    styles = arm_styles(content.study)
    compared = content.compared["accuracy"]
    if len(own := compared[compared["row"] == row]):
        yield "differences", "Paired differences of accuracy at N", figures.differences_figure(row, own, styles)
    for metric in CURVES:
        curves = content.curves[metric]
        figure = figures.curves_figure(row, curves[curves["row"] == row], metric, styles)
        yield metric, f"{NAMES[metric][0].upper()}{NAMES[metric][1:]} against labels", figure
    costs = content.costs[content.costs["row"] == row]
    yield "seconds", "Seconds of a run by phase, mean over seeds", figures.seconds_figure(row, costs)
    shares = content.shares.loc[[row]]
    shown = most_unequal(shares, CLASSES_SHOWN)
    curves = content.curves["accuracy"]
    curves = curves[curves["row"] == row]
    labels = dict(zip(zip(curves["arm"], curves["round"], strict=True), curves["labels"], strict=True))
    caption = "Share of each class in the labelled set"
    if len(shown) < len(content.data["classes"]):
        caption += f" ({len(shown)} of {len(content.data['classes']):,} classes: those on which the arms differ most)"
    yield "classes", caption, figures.classes_figure(row, shares, labels, shown)

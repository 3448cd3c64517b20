"""Draws every figure of a report: files for papers, and the same drawings for the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

from labelwise.analysis.picks import ROLES, most_unequal
from labelwise.analysis.words import NAMES
from labelwise.report import figures, match_figures
from labelwise.report.content import Content
from labelwise.report.figures import Styles
from labelwise.report.groups import Group, groups
from labelwise.report.pair_figures import LIMIT, overlap_square, square_figure, win_square
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
    """Write all figures into the folder; return them by kind, in the study's order of rows and groups of arms.

    Each kind (differences, labels, accuracy, macro_f1, loss, wins, seconds, price, overlap, scores, classes) has one
    for each row and group that has what it shows.
    """
    drawn: dict[str, list[Drawn]] = {}
    styles = arm_styles(content.study)
    with matplotlib.style.context(["default", RC]):
        for row in content.rows:
            for group in groups(content.study):
                title = ", ".join(text for text in (row, group.said) if text)
                for kind, caption, figure in _figures(content, row, group, title, styles):
                    slug = "-".join(text for text in (kind, row, group.slug) if text)
                    name = slug.replace("%", "pct").replace("/", "-")
                    svg = Markup(save(figure, folder, name, f"{caption}, row {title}"))  # made and escaped by us
                    drawn.setdefault(kind, []).append(Drawn(name, caption, svg))
    return drawn


def _figures(content: Content, row: str, group: Group, title: str, styles: Styles) -> Iterator[tuple[str, str, Figure]]:
    if len(own := group.own(content.compared["accuracy"], row)):
        yield "differences", "Paired differences of accuracy at N", figures.differences_figure(title, own, styles)
    if len(own := group.own(content.needed, row)):
        yield "labels", "Labels required to match the baseline", match_figures.labels_figure(title, own, styles)
    for metric in CURVES:
        if len(own := group.own(content.curves[metric], row)):
            caption = f"{NAMES[metric][0].upper()}{NAMES[metric][1:]} against labels"
            yield metric, caption, figures.curves_figure(title, own, metric, styles)
    own = group.own(content.wins, row, ("arm", "loser"))
    if own["arm"].nunique() in range(2, LIMIT + 1):
        said = "% of rounds at which the line is above the column"
        yield "wins", "Who is above whom along the curve", square_figure(f"Row {title}", win_square(own), said)
    if len(own := group.own(content.costs, row)):
        yield "seconds", "Seconds of a run by phase, mean over seeds", figures.seconds_figure(title, own)
    if len(own := group.own(content.prices, row)):
        yield "price", "Accuracy against price", match_figures.price_figure(title, own, styles)
    yield from _picks(content, row, group, title, styles)


def _picks(content: Content, row: str, group: Group, title: str, styles: Styles) -> Iterator[tuple[str, str, Figure]]:
    own = group.own(content.overlaps, row, ("arm", "other"))
    if own["arm"].nunique() in range(1, LIMIT):
        figure = square_figure(f"Row {title}", overlap_square(own), "% of the bought images in common")
        yield "overlap", "How far two arms buy the same images, mean over seeds", figure
    if len(own := group.own(content.scores, row)):
        yield "scores", "Scores of the picks, by round", figures.scores_figure(title, own, styles)
    shares = content.shares[content.shares.index.isin([row], level="row")]
    shares = shares[shares.index.isin(group.labels, level="arm")].rename(index=group.labels, level="arm")
    shares = shares.dropna(axis=1, how="all")  # classes, or their roles
    if shares.empty:
        return
    shown = most_unequal(shares, CLASSES_SHOWN)
    curves = group.own(content.curves["accuracy"], row)
    labels = dict(zip(zip(curves["arm"], curves["round"], strict=True), curves["labels"], strict=True))
    caption = "Share of each class in the labelled set"
    if set(shown) <= set(ROLES):
        caption = "Share of each seed's own minority classes, together, in the labelled set"
    elif len(shown) < len(content.data["classes"]):
        caption += f" ({len(shown)} of {len(content.data['classes']):,} classes: those on which the arms differ most)"
    yield "classes", caption, figures.classes_figure(title, shares, labels, shown)

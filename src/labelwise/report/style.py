"""How figures look: colours that colour-blind readers tell apart, and one line style an arm throughout a report."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from labelwise.analysis.compare import RANDOM
from labelwise.config import Study
from labelwise.report.groups import groups
from labelwise.strategies import BASELINE

INK, MUTED, GRID, SURFACE = "#1b1f24", "#5c6672", "#dfe3e8", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b5538c", "#3f9fd8", "#c98a00")
"""After Okabe & Ito (2008); purple, sky and orange are darkened until they read on white."""
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", SURFACE: "--surface",
    **{color: f"--series-{i}" for i, color in enumerate(SERIES)},
}  # fmt: skip
"""Colour in a figure's file -> the page's variable for it, which follows the reader's light or dark scheme."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = "osD^vPX"
WIDTH = 3.8
"""Inches: a figure is one column wide, so that it can be read on a phone."""

RC: dict[str, Any] = {
    "font.size": 8.0, "axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.labelsize": 8.0, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "legend.fontsize": 7.5,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.titlecolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.edgecolor": GRID, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.6,
    "xtick.major.size": 0.0, "ytick.major.size": 0.0, "figure.facecolor": SURFACE, "axes.facecolor": "none",
    "legend.frameon": False, "lines.linewidth": 1.5, "lines.solid_capstyle": "round",
    "svg.fonttype": "none", "svg.hashsalt": "labelwise", "pdf.fonttype": 3, "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True)
class ArmStyle:
    """Colour, line and marker of one arm."""

    color: str
    dash: Any
    marker: str


def arm_styles(study: Study) -> dict[str, ArmStyle]:
    """Return each arm's style: baselines in ink, random in grey, strategies in colours.

    By its label within a group, and by its whole name: arms that differ in pool or weighting alone share the label's
    style, for they stand in different figures, but not the whole name's, for figures of all groups at once.
    """
    styles: dict[str, ArmStyle] = {}
    taken: dict[str, int] = {}
    labels = [(label, name) for group in groups(study) for name, label in group.labels.items()]
    strategies = {study.arm_name(arm): arm.strategy for arm in study.arms}
    whole = [(name, name) for name in strategies]
    for shown, name in [*labels, *whole]:
        if shown in styles:
            continue
        kind = strategies[name] if strategies[name] in (BASELINE, RANDOM) else "strategy"
        i = taken[kind] = taken.get(kind, -1) + 1
        color = {BASELINE: INK, RANDOM: MUTED}.get(kind, SERIES[i % len(SERIES)])
        turn = i // len(SERIES) if kind == "strategy" else i + 1
        styles[shown] = ArmStyle(color, DASHES[turn % len(DASHES)], MARKERS[i % len(MARKERS)])
    return styles


def plain(text: str, limit: int = 26) -> str:
    """Return text fit for a figure: one line, no control characters (not allowed in XML), cut in the middle."""
    line = "".join("�" if unicodedata.category(c) in ("Cc", "Cs", "Cn", "Co") else c for c in re.sub(r"\s+", " ", text))
    half = limit // 2
    return line if len(line) <= limit else f"{line[: half - 1]}…{line[len(line) - half :]}"

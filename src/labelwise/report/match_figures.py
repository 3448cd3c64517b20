"""Figures of labels and money: labels required to match the baseline, and accuracy against price."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from labelwise.analysis.answers import HONEST
from labelwise.analysis.matching import ORACLE
from labelwise.analysis.results import dicts
from labelwise.report.figures import Styles, add_legend, legend_height
from labelwise.report.style import INK, MUTED, WIDTH, plain


def labels_figure(row: str, needed: pd.DataFrame, styles: Styles) -> Figure:
    """Draw the labels that each arm of a row needs to match the baseline; N is the line on the right.

    Filled: the honest estimate with its 95 % interval; open: oracle stopping. An arrow: more than N on average, or
    never. needed: as of `matching.needed`, of this row.
    """
    arms = list(dict.fromkeys(needed["arm"]))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.3 * len(arms)), layout="constrained")
    axes = figure.subplots()
    budget = float(needed["budget"].iloc[0])
    axes.axvline(budget, color=INK, lw=1)
    for rule, shift in ((HONEST, -0.14), (ORACLE, 0.14)):
        for one in dicts(needed[needed["rule"] == rule]):
            _needs(axes, one, arms.index(one["arm"]) + shift, styles[one["arm"]].color, budget, rule == HONEST)
    for marker, fill, label in (("o", INK, "honest estimate"), ("s", "none", "oracle stopping")):
        axes.plot([], [], marker=marker, mfc=fill, color=INK, ls="", ms=5, label=label)
    axes.plot([], [], marker=">", mfc="none", color=INK, ls="", ms=5, label="more than N")
    axes.set(xlabel=f"labels to match (N = {budget:,.0f})")
    figure.suptitle(f"Row {row}", x=0.02, ha="left", size=8.5, weight="bold")
    axes.set(ylim=(len(arms) - 0.5, -0.5), xlim=(0, budget * 1.12))
    axes.set_yticks(range(len(arms)), [plain(arm, 34) for arm in arms], color=INK)
    _thousands(axes)
    axes.grid(visible=False, axis="y")
    add_legend(figure, axes)
    return figure


def _needs(axes: Axes, one: dict[str, Any], y: float, color: str, budget: float, filled: bool) -> None:
    beyond = math.isnan(one["labels"]) or one["labels"] > budget
    if beyond:
        axes.plot([budget * 1.05], [y], marker=">", ms=5, color=color, mfc=color if filled else "none", ls="")
        return
    ends = None
    if filled and not math.isnan(one["low"]):
        low, high = (one["budget"] * (1 - one[key]) for key in ("high", "low"))
        ends = [[max(0.0, one["labels"] - low)], [max(0.0, min(high, budget * 1.12) - one["labels"])]]
    marker, fill = ("o", color) if filled else ("s", "none")
    axes.errorbar([one["labels"]], [y], xerr=ends, color=color, marker=marker, mfc=fill, ms=5, lw=1.4, capsize=2.5)


def price_figure(row: str, prices: pd.DataFrame, styles: Styles) -> Figure:
    """Draw accuracy against what has been paid: labels and hours. prices: as of `ledger.price_curves`, of this row."""
    names = [plain(str(arm), 48) for arm in dict.fromkeys(prices["arm"])]
    figure = Figure(figsize=(WIDTH, 2.45 + legend_height(names)), layout="constrained")
    axes = figure.subplots()
    for arm, part in prices.groupby("arm", sort=False):
        style, mean = styles[str(arm)], part["mean"].to_numpy() * 100
        label = plain(str(arm), 48)
        if len(part) == 1:
            axes.axhline(mean[0], color=style.color, ls=style.dash, lw=0.9, alpha=0.8)
        axes.plot(part["price"], mean, color=style.color, ls=style.dash, marker=style.marker, ms=3.5,
                  markevery=[len(part) - 1], label=label)  # fmt: skip
        axes.fill_between(part["price"], part["low"] * 100, part["high"] * 100, color=style.color, alpha=0.13, lw=0)
    axes.set(xlabel="price of the run so far", ylabel="accuracy, %", title=f"Row {row}")
    _thousands(axes)
    add_legend(figure, axes, names)
    return figure


def _thousands(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 10 or x == int(x) else f"{x:g}"))
    axes.tick_params(axis="x", colors=MUTED)

"""The report's figures: each shows one row of the study, one column wide, so that any number of rows stays readable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, MaxNLocator

from labelwise.analysis.compare import RANDOM, SECONDS
from labelwise.analysis.results import dicts
from labelwise.analysis.words import NAMES, SHARES, seconds
from labelwise.report.limits import possible
from labelwise.report.style import INK, MUTED, SERIES, WIDTH, ArmStyle, plain
from labelwise.strategies import BASELINE

Styles = dict[str, ArmStyle]
PHASES = dict(zip(SECONDS, ("training", "scoring", "selection", "evaluation", "zero-shot labels"), strict=True))


def curves_figure(row: str, curves: pd.DataFrame, metric: str, styles: Styles, along: str = "labels") -> Figure:
    """Draw a row's learning curves: mean and 95 % band over seeds; an arm of one round is a point and a line.

    More strategies than there are colours are drawn in several panels. curves: as of `learning_curves`, of this row;
    along: what their `labels` are.
    """
    panels = _panels(list(dict.fromkeys(map(str, curves["arm"]))), styles)
    heights = [2.2 + legend_height([plain(arm, 48) for arm in arms]) for arms in panels]
    figure = Figure(figsize=(WIDTH, 0.25 + sum(heights)), layout="constrained")
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    drawn = [part.subplots() for part in parts]
    for i, (part, axes, arms) in enumerate(zip(parts, drawn, panels, strict=True)):
        for arm in arms:
            _curve(axes, curves[curves["arm"] == arm], metric, styles[arm], plain(arm, 48))
        if i:
            axes.sharey(drawn[0])
        axes.set(xlabel=along, ylabel=f"{NAMES[metric]}{', %' if metric in SHARES else ''}")
        axes.set_title(f"Row {row}" + (f" ({i + 1} of {len(panels)})" if len(panels) > 1 else ""))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        add_legend(part, axes, [plain(arm, 48) for arm in arms])
    return figure


def _panels(arms: list[str], styles: Styles) -> list[list[str]]:
    """Return which arms share a panel: no more than there are colours, and the baselines and random in every one.

    Arms get their colours in the study's order, so that no two of a panel have the same where none is missing.
    """
    always = [arm for arm in arms if styles[arm].color in (INK, MUTED)]
    others = [arm for arm in arms if arm not in always]
    count = max(1, math.ceil(len(others) / len(SERIES)))
    size = max(1, math.ceil(len(others) / count))
    return [[*always, *others[i : i + size]] for i in range(0, max(1, len(others)), size)]


def _curve(axes: Axes, curve: pd.DataFrame, metric: str, style: ArmStyle, label: str) -> None:
    scale = 100.0 if metric in SHARES else 1.0
    labels, mean = curve["labels"].to_numpy(), curve["mean"].to_numpy() * scale
    low, high = (possible(curve[end].to_numpy(), metric) * scale for end in ("low", "high"))
    if len(curve) == 1:
        _point(axes, labels[0], mean[0], low[0], high[0], style, label)
        return
    axes.plot(labels, mean, color=style.color, ls=style.dash, marker=style.marker, ms=3.5,
              markevery=[len(curve) - 1], label=label)  # fmt: skip
    axes.fill_between(labels, low, high, color=style.color, alpha=0.13, lw=0)


def _point(axes: Axes, x: float, mean: float, low: float, high: float, style: ArmStyle, label: str) -> None:
    """Draw the baseline: its value at N with its interval, and a line to hold the curves against."""
    axes.axhline(mean, color=style.color, ls=style.dash, lw=0.9, alpha=0.8)
    bars = None if math.isnan(low) else [[mean - low], [high - mean]]
    axes.errorbar([x], [mean], yerr=bars, color=style.color, marker=style.marker, ms=4.5, ls=style.dash, lw=1.2,
                  capsize=2.5, label=label, zorder=5)  # fmt: skip


def differences_figure(row: str, compared: pd.DataFrame, styles: Styles) -> Figure:
    """Draw a row's paired differences of accuracy with their 95 % intervals; filled: to the baseline, open: to random.

    compared: as of `differences`, of this row, with at least one pair each.
    """
    arms = list(dict.fromkeys(compared["arm"]))
    figure = Figure(figsize=(WIDTH, 1.1 + 0.32 * len(arms)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, lw=1)
    for against, shift in ((BASELINE, -0.14), (RANDOM, 0.14)):
        for comparison in dicts(compared[compared["against"] == against]):
            style = styles[comparison["arm"]]
            middle, low, high = (comparison[key] * 100 for key in ("difference", "low", "high"))
            axes.errorbar(
                [middle], [arms.index(comparison["arm"]) + shift],
                xerr=None if math.isnan(low) else [[middle - low], [high - middle]],
                color=style.color, marker="o" if against == BASELINE else "s", ms=5, lw=1.4, capsize=2.5,
                mfc=style.color if against == BASELINE else "none",
            )  # fmt: skip
    for marker, fill, label in (("o", INK, "to the stratified sample"), ("s", "none", "to random")):
        axes.plot([], [], marker=marker, mfc=fill, color=INK, ls="", ms=5, label=label)
    figure.suptitle(f"Row {row}", x=0.02, ha="left", size=8.5, weight="bold")
    axes.set(xlabel="difference in accuracy, points", ylim=(len(arms) - 0.5, -0.5))
    axes.set_yticks(range(len(arms)), [plain(arm) for arm in arms], color=INK)
    axes.grid(visible=False, axis="y")
    add_legend(figure, axes)
    return figure


def seconds_figure(row: str, costs: pd.DataFrame) -> Figure:
    """Draw a row's mean seconds a run, stacked by phase: a bar an arm. costs: as of `costs`, of this row."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.26 * len(costs)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(costs))
    for i, (column, label) in enumerate(PHASES.items()):
        values = costs[column].to_numpy(dtype=float)
        if values.any():
            axes.barh(range(len(costs)), values, left=left, height=0.62, color=SERIES[i], label=label)
        left += values
    for i, total in enumerate(left):
        axes.annotate(f"{seconds(total)} s", (total, i), (4, 0), textcoords="offset points", va="center", size=7)
    figure.suptitle(f"Row {row}", x=0.02, ha="left", size=8.5, weight="bold")
    axes.set(xlabel="seconds a run")
    axes.set(ylim=(len(costs) - 0.5, -0.5), xlim=(0, left.max() * 1.18 or 1))
    axes.set_yticks(range(len(costs)), [plain(arm) for arm in costs["arm"]], color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
    add_legend(figure, axes)
    return figure


def scores_figure(row: str, scores: pd.DataFrame, styles: Styles) -> Figure:
    """Draw the strategies' own scores of their picks: a panel an arm. scores: as of `picks.scores`, of this row."""
    arms = list(dict.fromkeys(scores["arm"]))
    figure = Figure(figsize=(WIDTH, 0.85 + 0.8 * len(arms)))
    height = figure.get_figheight()  # laid out by hand, since automatic layout takes seconds
    sides = {"left": 0.15, "right": 0.97, "top": 1 - 0.5 / height, "bottom": 0.35 / height, "hspace": 0.6}
    panels = figure.subplots(len(arms), 1, squeeze=False, gridspec_kw=sides)[:, 0]
    for axes, arm in zip(panels, arms, strict=True):
        part, color = scores[scores["arm"] == arm], styles[arm].color
        axes.plot(part["round"], part["mean"], color=color)
        axes.fill_between(part["round"], part["low"], part["high"], color=color, alpha=0.18, lw=0)
        axes.set_title(plain(arm, 40))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("round that first trains on them")
    figure.text(0.02, 1 - 0.17 / height, f"Row {row}", size=8.5, weight="bold")
    return figure


def classes_figure(row: str, shares: pd.DataFrame, labels: dict[tuple[str, int], float], shown: list[str]) -> Figure:
    """Draw which classes each arm of a row has labelled, round by round: a panel an arm, a line a class.

    shares: as of `class_shares`, of this row; labels: (arm, round) -> labels; shown: the classes to draw.
    """
    arms = list(dict.fromkeys(shares.index.get_level_values("arm")))
    names = [plain(name, 16) for name in shown]
    height, gap, foot = 0.115 * len(shown), 0.45, 0.6  # inches; laid out by hand, since automatic layout takes seconds
    figure = Figure(figsize=(WIDTH, 0.22 + (height + gap) * len(arms) + foot))
    left, total = 0.16 + 0.058 * max(map(len, names)), figure.get_figheight()
    box = (left / WIDTH, 1 - (left + 0.4) / WIDTH)  # left edge and width, the same for every panel
    top = float(shares[shown].to_numpy().max())
    for i, arm in enumerate(arms):
        bottom = foot + (height + gap) * (len(arms) - 1 - i) + 0.2
        axes = figure.add_axes((box[0], bottom / total, box[1], height / total))
        part = shares.xs(arm, level="arm")[shown]
        image = axes.imshow(part.to_numpy().T, aspect="auto", interpolation="none", cmap="viridis", vmin=0, vmax=top)
        rounds = [int(r) for r in part.index.get_level_values("round")]
        ticks = sorted({0, len(rounds) // 2, len(rounds) - 1})
        axes.set_xticks(ticks, [f"{labels[arm, rounds[r]]:,.0f}" for r in ticks], size=7)
        axes.set_yticks(range(len(shown)), names, size=6.5, color=INK)
        for k, share in enumerate(part.iloc[-1]):
            axes.text(len(rounds) * 1.01 - 0.5, k, f"{share:.0%}", va="center", size=6.5)
        axes.set_title(plain(arm, 40))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    figure.text(0.16 / WIDTH, 1 - 0.18 / total, f"Row {row}", size=8.5, weight="bold")
    bar = figure.colorbar(
        image, cax=figure.add_axes((box[0], 0.38 / total, box[1], 0.07 / total)), orientation="horizontal"
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x * 100:g}%"))
    bar.ax.grid(visible=False)
    bar.set_label("share of the labelled set, by number of labels", labelpad=1)
    return figure


def legend_height(names: list[str]) -> float:
    """Return the inches that a legend of these names takes."""
    return 0.16 * math.ceil(len(names) / _legend_columns(names))


def _legend_columns(names: list[str]) -> int:
    longest = max(map(len, names), default=0)
    return 3 if longest < 14 else 2 if longest < 24 else 1


def add_legend(figure: FigureBase, axes: Axes, order: list[str] | None = None) -> None:
    """Set the legend below the axes, line by line in the order of `order`, in as many columns as fit."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    names = [name for name in order if name in handles] if order else list(handles)
    columns = _legend_columns(names)
    down = [names[i] for start in range(columns) for i in range(start, len(names), columns)]  # it fills columns first
    settings: dict[str, Any] = {"handlelength": 2.4, "columnspacing": 1.2, "borderaxespad": 0.2}
    figure.legend([handles[n] for n in down], down, loc="outside lower left", ncols=columns, labelcolor=INK, **settings)

"""The section on annotators that err: how many wrong labels each arm has, and what they cost it in accuracy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from labelwise.analysis import results
from labelwise.analysis.labels import TRUTH, against_truth, noise, wrong
from labelwise.analysis.results import dicts
from labelwise.analysis.words import change, interval, number, p_value
from labelwise.records import Store
from labelwise.report.content import Content
from labelwise.report.section import Section, drawn, file_name, styled
from labelwise.report.style import WIDTH, arm_styles, plain
from labelwise.report.tables import Cell, Table


def section(store: Store, content: Content, folder: Path) -> list[Section]:
    """Return the section, or nothing where every label that is bought is true."""
    if content.runs.empty or (content.runs["labeler"] == TRUTH).all():
        return []
    counted = wrong(results.details(store))
    found = against_truth(content.runs, counted)
    shares = noise(counted)
    lines = [
        "Here annotators answer, and some of their answers are wrong, in training and in validation; the test set's "
        "labels are true. The same image gets the same answer in every arm of a seed. With an overlap each answer is a "
        "label bought, the majority counts, and N counts images.",
        *[_line(c) for c in dicts(found)],
    ]
    figures = []
    with styled():
        for row in content.rows:
            own = shares[(shares["row"] == row) & shares["arm"].isin(found["arm"])]
            if len(own):
                figure = _noise_figure(row, own, arm_styles(content.study))
                caption = f"Share of wrong labels in the labelled set, row {row}"
                figures.append(drawn(figure, folder, file_name("wrong", row), caption))
    return [
        Section(
            "annotators", "Annotators that err", lines, [("Wrong labels and accuracy at N", _table(found))], figures
        )
    ]


def _line(c: dict[str, Any]) -> str:
    text = (
        f"Row {c['row']}: {c['arm']} has {c['share']:.1%} wrong labels at N and {number(c['accuracy'], 'accuracy')} % "
        f"accuracy for {c['labels_bought']:,.0f} labels bought"
    )
    if not c["n_pairs"]:
        return f"{text}; no arm of this study is the same with true labels."
    text += f", {change(c['difference'], 'accuracy')} points{interval(c['low'], c['high'], 'accuracy')} to true labels"
    if math.isnan(c["p_holm"]):
        return f"{text}, no verdict."
    shown = "a difference shown" if c["p_holm"] < 0.05 else "no difference shown"
    return f"{text}, {shown} ({p_value(c['p_holm'])} after Holm)."


def _table(found: pd.DataFrame) -> Table:
    rows = [
        [Cell(c["row"]), Cell(c["arm"]), Cell(f"{c['share'] * 100:.1f}"), Cell(f"{c['labels_bought']:,.0f}"),
         Cell(number(c["accuracy"], "accuracy")),
         Cell(change(c["difference"], "accuracy"), interval(c["low"], c["high"], "accuracy").strip()),
         Cell("–" if math.isnan(c["p_holm"]) else p_value(c["p_holm"])), Cell(str(c["n_pairs"]))]
        for c in dicts(found)
    ]  # fmt: skip
    heads = ["wrong labels, %", "labels bought", "accuracy, %", "to true labels, points", "p, Holm", "pairs"]
    return Table(["row", "arm", *heads], rows)


def _noise_figure(row: str, shares: pd.DataFrame, styles: dict[str, Any]) -> Figure:
    arms = list(dict.fromkeys(shares["arm"]))
    figure = Figure(figsize=(WIDTH, 2.4 + 0.16 * len(arms)), layout="constrained")
    axes = figure.subplots()
    for arm, part in shares.groupby("arm", sort=False):
        style = styles[str(arm)]
        axes.plot(part["labels"], part["mean"] * 100, color=style.color, ls=style.dash, marker=style.marker, ms=3.5,
                  markevery=[len(part) - 1], label=plain(str(arm), 48))  # fmt: skip
    axes.set(xlabel="labels", ylabel="wrong labels, %", title=f"Row {row}")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower left", ncols=1)
    return figure

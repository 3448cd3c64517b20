"""The answer at a glance: a line a row of the study, a column a strategy, a cell a difference or a number of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from labelwise.analysis.answers import HONEST, reduction_span, short
from labelwise.analysis.compare import RANDOM
from labelwise.analysis.results import dicts
from labelwise.analysis.words import change, interval, number, percent
from labelwise.config import Arm
from labelwise.report.content import Content
from labelwise.report.tables import WIDE, Cell, Table
from labelwise.strategies import BASELINE

MARK = {"higher": "▲ ", "lower": "▼ ", "similar": "≈ ", "fewer": "▼ ", "more": "▲ "}
"""Calls are told by a sign too, not by colour alone."""


def accuracy_grid(content: Content) -> Table | None:
    """Return the difference of accuracy to the baseline at N, in points; None where nothing can be compared so."""
    compared = content.compared["accuracy"]
    own = {(c["row"], c["arm"]): c for c in dicts(compared[compared["against"] == BASELINE])}
    return _grid(content, own, "stratified, %", _reference, _difference) if own else None


def labels_grid(content: Content) -> Table | None:
    """Return the labels needed to match the baseline's accuracy; None where nothing can be compared so."""
    own = {(c["row"], c["arm"]): c for c in dicts(content.needed[content.needed["rule"] == HONEST])}
    return _grid(content, own, "N", lambda c: number(c["budget"], "labels"), labels_cell) if own else None


def _grid(content: Content, own: dict[tuple[str, str], dict[str, Any]], head: str, reference: Any, cell: Any) -> Table:
    study = content.study
    arms = [(study.arm_name(arm), arm) for arm in study.arms if arm.strategy != BASELINE]
    arms.sort(key=lambda one: one[1].strategy != RANDOM)  # the control first
    columns = list(dict.fromkeys(short(study, name) for name, _ in arms))
    if len(columns) + 2 > WIDE:
        return _by_arm(content, arms, own, head, reference, cell)
    parts = {name: _parts(content, arm) for name, arm in arms}
    groups = list(dict.fromkeys(parts.values()))
    rows = []
    for row in content.rows:
        for group in groups:
            members = {short(study, name): own.get((row, name)) for name, _ in arms if parts[name] == group}
            there = [found for found in members.values() if found]
            if there:
                cells = [
                    cell(found) if (found := members.get(column)) else Cell("–", kind="open") for column in columns
                ]
                rows.append([Cell(row, _group(groups, group)), Cell(reference(there[0])), *cells])
    return Table(["row", head, *columns], rows, 1)


def _by_arm(
    content: Content, arms: list[tuple[str, Arm]], own: dict[tuple[str, str], dict[str, Any]], head: str,
    reference: Any, cell: Any,
) -> Table:  # fmt: skip
    """Return the grid of many strategies: a line an arm, a column a row of the study; first what they are held to."""
    shared = {name: ("", "", *_parts(content, arm)[2:]) for name, arm in arms}  # with the baseline: no start, no pool
    groups = list(shared.values())
    references: dict[tuple[str, ...], list[Cell]] = {}
    lines = []
    for name, _ in arms:
        found = [own.get((row, name)) for row in content.rows]
        if any(found):
            against = [Cell(reference(one)) if one else Cell("–") for one in found]
            beside = Cell(head, _group(groups, shared[name]))
            references.setdefault(tuple(one.text for one in against), [beside, *against])
            lines.append([Cell(name), *[cell(one) if one else Cell("–", kind="open") for one in found]])
    return Table(["", *content.rows], [*references.values(), *lines], 1)


def _parts(content: Content, arm: Arm) -> tuple[str, str, str, str]:
    labeler = (arm.labeler or content.study.labeler).name
    return str(arm.start), str(arm.pool), str(arm.weighting), labeler


def _group(groups: Sequence[tuple[str, ...]], group: tuple[str, ...]) -> str:
    """Return the parts of a group in which the study's arms differ."""
    several = [len(set(values)) > 1 for values in zip(*groups, strict=True)]
    weights = "class weights" if group[2] == "inverse" else "no class weights"
    named = (f"start: {group[0]}", f"{group[1]} pool", weights, f"labeler: {group[3]}")
    return ", ".join(text for text, differs in zip(named, several, strict=True) if differs)


def _reference(comparison: dict[str, Any]) -> str:
    return number(comparison["reference_mean"], "accuracy")


def _difference(comparison: dict[str, Any]) -> Cell:
    call = comparison["call"]
    kind = {"higher": "better", "lower": "worse", "similar": "same"}.get(call, "open")
    text = MARK.get(call, "") + change(comparison["difference"], "accuracy")
    return Cell(text, interval(comparison["low"], comparison["high"], "accuracy").strip(), kind)


def labels_cell(one: dict[str, Any]) -> Cell:
    """Return an arm's labels and their reduction. one: a row of `matching.needed`."""
    reached, n = int(one["reached"]), int(one["n"])
    never = f"matches in {reached} of {n}" if reached < n else ""
    kind = {"fewer": "better", "more": "worse"}.get(one["call"], "open")
    if not one["within"] and (not reached or math.isnan(one["labels"]) or (never and one["labels"] > one["budget"])):
        return Cell(f"{MARK.get(one['call'], '')}> {number(one['budget'], 'labels')}", never, kind)
    reduction = f"{percent(abs(one['reduction']))} % {'fewer' if one['reduction'] >= 0 else 'more'}"
    between = "" if math.isnan(one["low"]) else f"[{reduction_span(one['low'], one['high'])}]"
    text = MARK.get(one["call"], "") + number(one["labels"], "labels")
    return Cell(text, "\n".join(part for part in (reduction, between, never) if part), kind)

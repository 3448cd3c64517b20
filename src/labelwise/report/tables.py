"""The report's tables: text for the page, and whole numbers as CSV for everything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labelwise.analysis.compare import COSTS, means
from labelwise.analysis.ledger import OVERHEADS
from labelwise.analysis.results import dicts
from labelwise.analysis.verdict import oracle_assisted
from labelwise.analysis.words import NAMES, change, interval, number, p_value, percent, seconds, unit
from labelwise.report.content import COMPARED, Content
from labelwise.report.limits import possible
from labelwise.spreadsheets import guarded_value

WIDE = 8
"""Columns; a table with more of them is turned or set smaller."""
LOWER_IS_BETTER = ("loss", "seconds")
SUMMARISED = ("accuracy", "macro_f1", "loss", "ece", "area", "seconds_train", "seconds")
HEADS = {
    "seconds_train": "training", "seconds_score": "scoring", "seconds_select": "selection",
    "seconds_evaluate": "evaluation", "seconds_zero_shot": "zero-shot", "seconds": "all, s", "epochs": "epochs",
    "images_forward": "images forward", "images_backward": "images backward", "labels": "labels",
    "labels_train": "for training", "labels_val": "for validation", "labels_pseudo": "pseudo",
    "labels_bought": "bought", "labels_twice": "bought twice", "peak_memory_mb": "peak memory, MiB",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One cell of a table on the page: its text, a second line in small, and a class for its colour."""

    text: str
    small: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table on the page. text: how many columns, from the left, are text; the others are numbers."""

    head: list[str]
    rows: list[list[Cell]]
    text: int = 2

    @property
    def wide(self) -> bool:
        """Whether it may be wider than a page, and needs smaller type in print."""
        return len(self.head) > WIDE

    def turned(self) -> Table:
        """Return a wide table with its lines as columns, where that is narrower; the first column stays the names'."""
        if not self.wide or len(self.rows) >= len(self.head) - 1:
            return self
        heads = [", ".join(text for text in (row[0].text, row[0].small) if text) for row in self.rows]
        lines = [[Cell(name), *[row[i] for row in self.rows]] for i, name in enumerate(self.head)]
        return Table(["", *heads], lines[1:], 1)


def at_budget(content: Content) -> Table:
    """Return every arm's metrics at N: mean, and the 95 % interval below it."""
    found = {column: dicts(means(content.runs, column)) for column in SUMMARISED}
    budgets = content.runs.groupby("row")["budget"].agg(["min", "max"])
    rows = []
    for i, first in enumerate(found["accuracy"]):
        low, high = budgets.loc[first["row"]]
        rows.append([
            Cell(first["row"], f"N {low:,}" if low == high else f"N {low:,}–{high:,}"),
            Cell(first["arm"], oracle_note(content, first["arm"])),
            *[_mean(found[column][i], column) for column in SUMMARISED],
            Cell(f"{first['n']} of {len(content.study.seeds)}"),
        ])  # fmt: skip
    names = {**NAMES, "seconds_train": "training", "seconds": "whole run"}
    heads = [f"{names[column]}{',' if unit(column) else ''}{unit(column)}" for column in SUMMARISED]
    return Table(["row", "arm", *heads, "seeds"], rows)


def oracle_note(content: Content, arm: str) -> str:
    """Return what to write below an arm's name if it reads hidden labels."""
    found = oracle_assisted(content.study, arm)
    return f"oracle-assisted {found}" if found else ""


def _mean(found: dict[str, Any], column: str) -> Cell:
    low, high = (float(possible(found[end], column)) for end in ("low", "high"))
    return Cell(number(found["mean"], column), interval(low, high, column).strip())


def differences(content: Content) -> Table:
    """Return the paired differences of accuracy at N with everything that the call rests on."""
    rows = [
        [
            Cell(c["row"]), Cell(c["arm"]), Cell(c["reference"]),
            Cell(change(c["difference"], "accuracy")),
            Cell(interval(c["low"], c["high"], "accuracy").strip() or "none"),
            Cell(c["call"], kind=_kind(c["call"], "accuracy")),
            Cell(_p(c["p"])), Cell(_p(c["p_holm"])), Cell(str(c["n_pairs"])),
        ]
        for c in dicts(content.compared["accuracy"])
    ]  # fmt: skip
    head = ["row", "arm", "against", "difference, points", "95 % interval", "call", "p", "p, Holm", "pairs"]
    return Table(head, rows, 3)


def other_differences(content: Content) -> Table:
    """Return the paired differences of everything else that is compared, side by side."""
    columns = [column for column in COMPARED if column != "accuracy"]
    cells = {
        column: {(c["row"], c["arm"], c["reference"]): _difference(c, column) for c in dicts(content.compared[column])}
        for column in columns
    }
    keys = [(c["row"], c["arm"], c["reference"]) for c in dicts(content.compared["accuracy"])]
    rows = [[*[Cell(text) for text in key], *[cells[column].get(key, Cell("–")) for column in columns]] for key in keys]
    units = [unit(column, difference=True) for column in columns]
    heads = [NAMES[c] + (f",{u}" if u and c != "seconds" else "") for c, u in zip(columns, units, strict=True)]
    return Table(["row", "arm", "against", *heads], rows, 3)


def _difference(found: dict[str, Any], column: str) -> Cell:
    text = change(found["difference"], column)
    between = interval(found["low"], found["high"], column).strip()
    return Cell(text, f"{between} {found['call']}".strip(), _kind(found["call"], column))


def _kind(call: str, column: str) -> str:
    """Return the colour of a call: whether it is for the better or the worse."""
    if call not in ("higher", "lower"):
        return "same" if call == "similar" else "open"
    return "worse" if (call == "higher") == (column in LOWER_IS_BETTER) else "better"


def _p(p: float) -> str:
    return "–" if math.isnan(p) else p_value(p).removeprefix("p = ").removeprefix("p ")


def costs(content: Content) -> Table:
    """Return what a run costs, mean over the seeds; columns that are zero everywhere are left out."""
    columns = [c for c in COSTS if content.costs[c].any()]
    rows = [
        [Cell(cost["row"]), Cell(cost["arm"]), *[Cell(number(cost[column], column)) for column in columns]]
        for cost in dicts(content.costs)
    ]
    return Table(["row", "arm", *[HEADS[column] for column in columns]], rows)


def labels_needed(content: Content) -> Table:
    """Return the labels needed to match the baseline, by every rule, and the ratio to random in the same pool."""
    rows = [
        [
            Cell(c["row"]), Cell(c["arm"]), Cell(c["rule"]), Cell(f"{c['reached']} of {c['n']}"),
            Cell(number(c["labels"], "labels"), f"of {number(c['budget'], 'labels')}"),
            Cell(percent(c["reduction"]), _reduction(c), _saving(c["call"])), Cell(_p(c["p_holm"])),
            _control(c), Cell(c["control"] and _p(c["control_p_holm"])),
        ]
        for c in dicts(content.needed)
    ]  # fmt: skip
    head = ["row", "arm", "rule", "seeds that match", "labels", "fewer, %", "p, Holm", "times random's", "p, Holm"]
    return Table(head, rows, 3)


def _reduction(found: dict[str, Any]) -> str:
    if math.isnan(found["low"]):
        return ""
    low = "open" if found["low"] < -1 else percent(found["low"])
    return f"[{low}, {percent(found['high'])}] {found['call']}"


def _control(found: dict[str, Any]) -> Cell:
    if not found["control"] or math.isnan(found["control_ratio"]):
        return Cell("–" if found["control"] else "", found["control_call"])
    small = str(found["control_call"])
    if not math.isnan(found["control_low"]):
        ends = (f"{value:.2f}" if value < 10 else "open" for value in (found["control_low"], found["control_high"]))
        small = f"[{', '.join(ends)}] {small}"
    return Cell(f"{found['control_ratio']:.2f}", small, _saving(small.rpartition("] ")[2]))


def _saving(call: str) -> str:
    return {"fewer": "better", "more": "worse"}.get(call, "open")


def pairs(compared: pd.DataFrame) -> Table:
    """Return paired differences of accuracy at N with their equivalence tests. compared: as of `compare.between`."""
    rows = [
        [
            Cell(c["row"]), Cell(c["arm"]), Cell(c["reference"]), Cell(change(c["difference"], "accuracy")),
            Cell(interval(c["low"], c["high"], "accuracy").strip() or "none"),
            Cell(c["call"], kind=_kind(c["call"], "accuracy")), Cell(_p(c["p_holm"])),
            Cell(_p(c["p_equivalence_holm"])), Cell(number(c["detectable"], "accuracy")), Cell(str(c["n_pairs"])),
        ]
        for c in dicts(compared)
    ]  # fmt: skip
    head = ["row", "arm", "against", "difference, points", "95 % interval", "call", "p, Holm", "p within a point, Holm",
            "detectable, points", "pairs"]  # fmt: skip
    return Table(head, rows, 3)


def overheads(content: Content) -> Table:
    """Return what clustering and zero-shot starts add to a run, as ratios; of selection, the seconds too."""
    rows = []
    for key, part in content.overheads.groupby(["row", "arm", "what", "against"], sort=False):
        by = {one["cost"]: one for one in dicts(part)}
        cells = [_times(by.get(cost)) for cost in OVERHEADS]
        rows.append([*[Cell(str(text)) for text in key], *cells, Cell(str(max(part["n"])))])
    head = ["row", "arm", "what", "against", "training, scoring, selection", "training alone",
            "selection alone", "images forward", "images backward", "epochs", "pairs"]  # fmt: skip
    return Table(head, rows, 4)


def _times(one: dict[str, Any] | None) -> Cell:
    if one is None:
        return Cell("–")
    lines = [] if math.isnan(one["low"]) else [f"[{one['low']:.2f}, {one['high']:.2f}]"]
    if one["cost"] == "seconds_select":
        lines.append(f"{seconds(one['mean'])} s against {seconds(one['against_mean'])} s")
    return Cell(f"{one['ratio']:.2f}", "\n".join(lines))


def account(content: Content) -> Table:
    """Return the whole study's ledger, finished runs or not."""
    after = COSTS.index("seconds_score") + 1
    kinds = ("runs", "rounds", *COSTS[:after], "seconds_once", *COSTS[after:])
    columns = [c for c in kinds if content.ledger[c].any()]
    rows = [
        [Cell(line["row"] or "all rows"), *[Cell(number(line[column], column)) for column in columns]]
        for line in dicts(content.ledger)
    ]
    heads = {**HEADS, "runs": "runs", "rounds": "rounds", "seconds_once": "of it embedding"}
    return Table(["row", *[heads[column] for column in columns]], rows, 1).turned()


def write_tables(content: Content, folder: Path) -> list[str]:
    """Write the tables as CSV with all digits, shares as shares of 1; return the files' names."""
    curves = [frame.assign(metric=metric) for metric, frame in content.curves.items()]
    at_n = [means(content.runs, column).assign(metric=column) for column in SUMMARISED]
    compared = [frame.assign(metric=column) for column, frame in content.compared.items()]
    frames = {
        "rounds": content.rounds, "runs": content.runs, "curves": pd.concat(curves), "at_budget": pd.concat(at_n),
        "differences": pd.concat(compared), "costs": content.costs, "classes": content.shares.reset_index(),
        "between": content.between, "changes": content.changes, "matches": content.matches,
        "needed": content.needed, "wins": content.wins,
        "ledger": content.ledger, "overheads": content.overheads, "prices": content.prices,
    }  # fmt: skip
    for name, frame in frames.items():
        if "metric" in frame:
            frame.insert(2, "metric", frame.pop("metric"))
        _guarded(frame).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", errors="replace")
    return [f"{name}.csv" for name in frames]


def _guarded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts, names of classes and arms, no spreadsheet takes for formulas."""
    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].map(guarded_value) for name in texts}).rename(columns=guarded_value)

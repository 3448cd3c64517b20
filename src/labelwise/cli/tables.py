"""Tables on the terminal, as CSV or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from labelwise.records import Store
from labelwise.spreadsheets import guarded, guarded_value

if TYPE_CHECKING:
    import pandas as pd

    from labelwise.study.estimate import Estimate


def print_rows(rows: Sequence[dict[str, Any]], format_: str, columns: Sequence[str] = ()) -> None:
    """Print rows of plain values; `columns` names them where there may be no rows."""
    names = list(rows[0]) if rows else list(columns)
    if format_ == "json":
        print(json.dumps(list(rows), indent=1))
    elif format_ == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")  # names of files and classes come from outside
        writer.writerow([guarded(name) for name in names])
        writer.writerows([guarded_value(row[name]) for name in names] for row in rows)
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in names:
            number = bool(rows) and all(isinstance(row[name], int | float) for row in rows)
            table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
        for row in rows:
            table.add_row(*[_cell(name, row[name]) for name in names])
        Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False).print(table)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if name in ("accuracy", "macro_f1", "loss", "ece") else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and name not in ("seed", "round") else str(value)


SHORT = ("row", "arm", "seed", "round", "labels", "accuracy", "macro_f1", "loss", "ece", "epochs", "seconds_train",
         "seconds_score", "seconds_select", "seconds_evaluate")  # fmt: skip
"""The columns of the results that fit a terminal; CSV and JSON have all."""


def print_frame(frame: pd.DataFrame, format_: str) -> None:
    """Print the results' rows: all columns as CSV or JSON, the main ones as a table."""
    names = list(SHORT if format_ == "table" else frame.columns)
    rows: list[dict[str, Any]] = json.loads(frame[names].to_json(orient="records", double_precision=15))
    print_rows(rows, format_, names)


def print_status(store: Store, format_: str) -> None:
    """Print a row a planned run: what is recorded of it."""
    from labelwise.analysis.results import rounds

    frame = rounds(store)
    from labelwise.config import Study

    study = Study.model_validate(store.study()["config"])
    rows = []
    for row in study.sizes:
        for arm in study.arms:
            for seed in study.seeds:
                name = study.arm_name(arm)
                found = frame[(frame["row"] == row.name) & (frame["arm"] == name) & (frame["seed"] == seed)]
                last = found.iloc[-1] if len(found) else None
                rows.append({
                    "row": row.name, "arm": name, "seed": seed,
                    "status": "waiting" if last is None else str(last["status"]),
                    "rounds": len(found), "labels": 0 if last is None else int(last["labels"]),
                    "budget": "" if last is None else int(last["budget"]),
                })  # fmt: skip
    done = sum(row["status"] == "done" for row in rows)
    if format_ == "json":
        print(json.dumps({"done": done, "rounds": len(frame), "records": store.digest(), "runs": rows}, indent=1))
        return
    if format_ == "table":
        print(f"{done} of {len(rows)} runs done, {len(frame):,} rounds recorded in {store.path}")
        print(f"records {store.digest()} (equal for equal studies: times and memory are left out)\n")
    print_rows(rows, format_)


def print_verdict(store: Store) -> None:
    """Print what the finished runs show, in words and as a table."""
    from labelwise.analysis.verdict import verdict

    found = verdict(store)
    for question, lines in found.answers.items():
        print(f"{question}")
        for line in lines:
            print(f"  {line}")
    print()
    print_rows(json.loads(found.table.to_json(orient="records")), "table", list(found.table.columns))


def print_plan(estimate: Estimate, format_: str) -> None:
    """Print the plan: a row a row of the study and arm, and the whole."""
    times = ("seconds", "seconds_low", "seconds_high")
    rows = [{**asdict(arm), **{key: round(getattr(arm, key), 1) for key in times}} for arm in estimate.arms]
    if format_ == "json":
        whole = {
            "seconds_once": estimate.once,
            "workers": estimate.workers,
            **{key: getattr(estimate, key) for key in times},
            "seconds_longest_run": estimate.longest,
            "seconds_longest_run_low": estimate.longest_low,
            "seconds_longest_run_high": estimate.longest_high,
            "runs_can_stop_early": estimate.early,
        }
        print(json.dumps({"arms": rows, **whole}, indent=1))
    elif format_ == "csv":
        print_rows(rows, format_)
    else:
        print_rows([_ranged(row) for row in rows], format_)
        print(_whole_plan(estimate))


def _ranged(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for people: `12,300 (8,900-17,000)` in one column where a number has a range."""
    found = {key: value for key, value in row.items() if not key.endswith(("_low", "_high"))}
    for key in ("images_backward", "seconds"):
        low, high = row[f"{key}_low"], row[f"{key}_high"]
        if low < high:
            found[key] = f"{_rounded(row[key], 3)} ({_rounded(low)}-{_rounded(high)})"
    return found


def _rounded(value: float, digits: int = 2) -> str:
    """Return a number with so many digits that say something: `12,000`."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:,.1f}"


def _whole_plan(estimate: Estimate) -> str:
    """Say what the whole study costs, and what its estimate stands on."""
    runs, rounds, labels = (sum(getattr(arm, key) for arm in estimate.arms) for key in ("runs", "rounds", "labels"))
    lines = [
        f"\nIn all {runs:,} runs, {rounds:,} rounds, {labels:,} labels; about "
        f"{_between(estimate.seconds, estimate.seconds_low, estimate.seconds_high)} with {estimate.workers} "
        f"worker{'s' * (estimate.workers > 1)} as fast as here ({duration(estimate.once)} of it once, before the first "
        f"run); the longest run takes {_between(estimate.longest, estimate.longest_low, estimate.longest_high)}.",
        "The time is from a calibration of a few seconds; equal fits are computed once, so it can be less.",
    ]
    if estimate.seconds_low < estimate.seconds_high:
        lines.append(
            "Fits end by their own validation loss. Their lengths, and the ranges, go by fits of EfficientNet-Lite0 on "
            "CIFAR-10; other images and backbones can lie beyond them."
        )
    if estimate.early:
        lines.append("Runs stop where they reach the baseline: all of this is the most it can be.")
    return "\n".join(lines)


def _between(seconds: float, low: float, high: float) -> str:
    """Say a time and its range in words: `12 min (9 min to 20 min)`."""
    return duration(seconds) if low == high else f"{duration(seconds)} ({duration(low)} to {duration(high)})"


def duration(seconds: float) -> str:
    """Say a time in words: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_strategies(format_: str) -> None:
    """Print the table of strategies."""
    from labelwise.strategies import BASELINE, STRATEGIES

    rows = [{"strategy": BASELINE, "summary": "a study's baseline, not for labelling: trains once on a stratified set",
             "needs": "hidden labels, to draw the subset", "options": "", "source": ""}]  # fmt: skip
    for strategy in STRATEGIES.values():
        options = ", ".join(f"{name}={value}" for name, value in strategy.options.items())
        rows.append({"strategy": strategy.name, "summary": strategy.summary, "needs": ", ".join(strategy.needs),
                     "options": options, "source": strategy.source})  # fmt: skip
    print_rows(rows, format_)


def print_sources(format_: str) -> None:
    """Print the table of sources."""
    from labelwise.data.sources import SOURCES

    print_rows([{"source": source.name, "summary": source.summary} for source in SOURCES], format_)


def print_labelers(format_: str) -> None:
    """Print the tables of labelers and zero-shot models."""
    from labelwise.labelers.table import LABELERS
    from labelwise.zero_shot import ZERO_SHOT

    rows = [{"key": "labeler.kind", "value": row.name, "summary": row.summary,
             "needs": ", ".join(row.needs), "takes": ", ".join(row.takes)} for row in LABELERS]  # fmt: skip
    rows += [{"key": "zero_shot.model", "value": row.name, "summary": row.summary, "needs": "", "takes": ""}
             for row in ZERO_SHOT]  # fmt: skip
    print_rows(rows, format_)

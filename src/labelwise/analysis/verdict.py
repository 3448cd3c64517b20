"""The verdict in words with numbers: what the finished runs show at N, and what they do not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from labelwise.analysis.compare import RANDOM, SHARED_PARTS, differences, means, per_run, progress, reference_arm
from labelwise.analysis.results import dicts, rounds
from labelwise.analysis.statistics import LEVEL, smallest_sign_p
from labelwise.analysis.words import change, count, interval, listed, number, p_value
from labelwise.config import Study
from labelwise.records import Store
from labelwise.strategies import BASELINE

COLUMNS = ("row", "labels", "arm", "seeds", "accuracy %", "to stratified, points", "to random, points",
           "oracle-assisted")  # fmt: skip
NAMED = 12
"""Arms that differ are named in the overall lines up to so many; the rows' own lines name them all."""


@dataclass(frozen=True)
class Verdict:
    """What a study shows. overall: lines, the most general first; rows: heading -> lines; table: text, a row an arm."""

    overall: list[str]
    rows: dict[str, list[str]]
    table: pd.DataFrame

    @property
    def lines(self) -> list[str]:
        """All lines: the overall ones, then `Row 3% (1,500 labels, 5 seeds): margin 72.5 % ...` for each arm."""
        return [*self.overall, *[f"{heading}: {line}" for heading, lines in self.rows.items() for line in lines]]


def verdict(store: Store) -> Verdict:
    """Return the verdict on a store's finished runs, by test accuracy at N."""
    return judge(Study.model_validate(store.study()["config"]), per_run(rounds(store)))


def judge(study: Study, runs: pd.DataFrame) -> Verdict:
    """Return the verdict on finished runs. runs: as of `per_run`."""
    if runs.empty:
        planned = len(study.sizes) * len(study.arms) * len(study.seeds)
        return Verdict([f"0 of {planned:,} runs finished: no verdict yet."], {}, pd.DataFrame(columns=[*COLUMNS]))
    compared = differences(runs, "accuracy")
    overall = [
        *_status(study, progress(study, runs)),
        *_against(study, compared, BASELINE),
        *_against(study, compared, RANDOM),
        *_oracle(study),
        *_small_sample(compared),
    ]
    lines: dict[str, list[str]] = {}
    table = []
    for mean in dicts(means(runs, "accuracy")):
        own = {c["against"]: c for c in dicts(compared) if (c["row"], c["arm"]) == (mean["row"], mean["arm"])}
        budgets = runs.loc[runs["row"] == mean["row"], "budget"]
        heading = _heading(study, mean["row"], budgets)
        lines.setdefault(heading, []).append(_line(study, mean, own))
        table.append(_table_row(study, mean, own, _span(budgets)))
    return Verdict(overall, lines, pd.DataFrame(table, columns=[*COLUMNS]))


def oracle_assisted(study: Study, name: str) -> str:
    """Return what an arm reads of the hidden labels: `whole sample`, `its pool`, `initial labels`, or nothing."""
    arm = next(arm for arm in study.arms if study.arm_name(arm) == name)
    if arm.strategy == BASELINE:
        return "whole sample"
    if arm.start == "stratified":
        return "initial labels"
    return "its pool" if arm.pool == "subset" else ""  # the row's subset is drawn by hidden labels


def _status(study: Study, runs: pd.DataFrame) -> list[str]:
    planned, finished = int(runs["planned"].sum()), int(runs["finished"].sum())
    lines = []
    if finished < planned:
        left = planned - finished
        missing = f"the other {left:,} {'is' if left == 1 else 'are'} missing"
        lines.append(f"{finished:,} of {planned:,} runs finished: {missing}, and what follows rests on these alone.")
    if len(study.seeds) == 1:
        lines.append("One seed: no interval, no verdict. A difference below may be chance; more seeds can tell.")
    return lines


def _against(study: Study, compared: pd.DataFrame, against: str) -> list[str]:
    """Count the calls of all rows against the baseline or against random."""
    name = "the stratified sample" if against == BASELINE else "random"
    own = compared[compared["against"] == against]
    if own.empty:
        planned = any(arm.strategy == against for arm in study.arms)
        why = "no finished pair yet" if planned else f"no {against} arm in this study"
        return [f"Against {name}: {why}, nothing to compare with."]
    tested = own[own["call"] != "no verdict"]
    if tested.empty:  # of a single seed, that is said once for all
        none = f"Against {name}: {count(len(own), 'comparison')} without a verdict."
        return [none] if len(study.seeds) > 1 else []
    parts = [f"{call} accuracy in {_which(tested[tested['call'] == call])}" for call in ("higher", "lower")]
    unclear = int((tested["call"] == "no difference shown").sum())
    parts.append(f"no difference shown in {unclear or 'none'}")
    if untested := len(own) - len(tested):
        parts.append(f"{count(untested, 'more comparison')} without a verdict")
    return [f"Against {name} at equal labels, {count(len(tested), 'comparison')}: {'; '.join(parts)}."]


def _which(compared: pd.DataFrame) -> str:
    if compared.empty:
        return "none"
    if len(compared) > NAMED:
        return f"{len(compared)}"
    rows = [f"row {row}: {', '.join(part['arm'])}" for row, part in compared.groupby("row", sort=False)]
    return f"{len(compared)} ({'; '.join(rows)})"


def _oracle(study: Study) -> list[str]:
    names = [study.arm_name(arm) for arm in study.arms]
    whole = [name for name in names if oracle_assisted(study, name) == "whole sample"]
    initial = [name for name in names if oracle_assisted(study, name) == "initial labels"]
    parts = [
        *([f"{listed(whole)} (the whole sample is drawn by hidden labels)"] if whole else []),
        *([f"{listed(initial)} (start: stratified, so the initial labels are)"] if initial else []),
    ]
    return [f"Oracle-assisted: {'; '.join(parts)}."] if parts else []


def _small_sample(compared: pd.DataFrame) -> list[str]:
    """Say where a test without the normal assumption could never be significant (5 seeds or fewer)."""
    tested = compared.loc[compared["call"] != "no verdict", "n_pairs"]
    small = tested[[smallest_sign_p(int(n)) > 1 - LEVEL for n in tested]]
    if small.empty:
        return []
    n = int(small.max())
    return [
        f"With {n} seeds a two-sided sign or Wilcoxon test cannot go below p = {smallest_sign_p(n):g}; the p-values "
        "here are of paired t tests, which take the differences between seeds to be normal."
    ]


def _heading(study: Study, row: str, budgets: pd.Series) -> str:
    seeds = "one seed" if len(study.seeds) == 1 else count(len(study.seeds), "seed")
    return f"Row {row} ({_span(budgets)} labels, {seeds})"


def _span(budgets: pd.Series) -> str:
    low, high = int(budgets.min()), int(budgets.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _line(study: Study, mean: dict[str, Any], compared: dict[str, dict[str, Any]]) -> str:
    """Say one arm's accuracy at N and its differences: `margin 72.5 % [71.9, 73.1] against 72.0 % for ...`."""
    text = f"{mean['arm']} {number(mean['mean'], 'accuracy')} %{interval(mean['low'], mean['high'], 'accuracy')}"
    if mean["n"] < len(study.seeds):
        text += f" over {mean['n']} of {count(len(study.seeds), 'seed')}"
    parts = [
        _comparison(study, compared[against]) if against in compared else _no_reference(study, mean["arm"], against)
        for against in (BASELINE, RANDOM)
    ]
    parts = [part for part in parts if part]
    if compared and len(study.seeds) == 1:
        parts.append("one seed: no interval, no verdict")
    return "; ".join([f"{text} {parts[0]}", *parts[1:]] if parts else [text]) + "."


def _no_reference(study: Study, name: str, against: str) -> str:
    """Say why an arm is not compared; nothing where the study has no such arm at all, or it is one itself."""
    parts = [{**arm.model_dump(), "labeler": str(arm.labeler and arm.labeler.name)} for arm in study.arms]
    arms = pd.DataFrame(parts, index=[study.arm_name(arm) for arm in study.arms])
    if arms.loc[name, "strategy"] in (BASELINE, against) or not (arms["strategy"] == against).any():
        return ""
    if reference := reference_arm(arms, name, against):
        return f"against {reference}: no finished pair yet"
    return f"no {against} arm shares its {listed(SHARED_PARTS[against])}: not compared"


def _comparison(study: Study, comparison: dict[str, Any]) -> str:
    reference = "the stratified sample" if comparison["reference"] == BASELINE else comparison["reference"]
    n = comparison["n_pairs"]
    if n == 0:
        return f"against {reference}: no finished pair yet"
    text = (
        f"against {number(comparison['reference_mean'], 'accuracy')} % for {reference}: "
        f"{change(comparison['difference'], 'accuracy')} points"
        f"{interval(comparison['low'], comparison['high'], 'accuracy')}"
    )
    if n < len(study.seeds):
        text += f" over {count(n, 'pair')}"
    return text + _call(study, comparison)


def _call(study: Study, comparison: dict[str, Any]) -> str:
    """Say what a comparison shows, after Holm's correction; where only the correction undoes it, say that too."""
    call, tests = comparison["call"], comparison["comparisons"]
    corrected = f" after Holm over {count(tests, 'comparison')}" if tests > 1 else ""
    if call == "no verdict":
        if len(study.seeds) == 1:
            return ""
        return ", no verdict" if comparison["n_pairs"] < 2 else ", the same in every pair: no test, no verdict"
    if call == "no difference shown":
        undone = comparison["p"] < 1 - LEVEL
        return f", {call}" + (f" ({p_value(comparison['p_holm'])}{corrected})" if undone else "")
    return f", {call} ({p_value(comparison['p_holm'])}{corrected})"


def _table_row(study: Study, mean: dict[str, Any], compared: dict[str, dict[str, Any]], labels: str) -> list[str]:
    return [
        mean["row"], labels, mean["arm"], f"{mean['n']} of {len(study.seeds)}",
        number(mean["mean"], "accuracy") + interval(mean["low"], mean["high"], "accuracy"),
        *[_cell(compared.get(against)) for against in (BASELINE, RANDOM)],
        oracle_assisted(study, mean["arm"]),
    ]  # fmt: skip


def _cell(comparison: dict[str, Any] | None) -> str:
    if comparison is None or comparison["n_pairs"] == 0:
        return ""
    call = {"no difference shown": "none shown"}.get(comparison["call"], comparison["call"])
    difference = change(comparison["difference"], "accuracy")
    return f"{difference}{interval(comparison['low'], comparison['high'], 'accuracy')} {call}"

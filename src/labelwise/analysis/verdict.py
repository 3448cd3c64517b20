"""The verdict in words with numbers: what the finished runs show at N, and what they do not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from labelwise.analysis.answers import between_strategies, certainty, labels_to_match
from labelwise.analysis.changes import changes, said
from labelwise.analysis.compare import (
    RANDOM,
    SHARED_PARTS,
    between,
    differences,
    means,
    per_run,
    progress,
    reference_arm,
)
from labelwise.analysis.halves import rounds_with_halves
from labelwise.analysis.ledger import fits_with_problems
from labelwise.analysis.matching import matches, needed
from labelwise.analysis.results import dicts
from labelwise.analysis.statistics import LEVEL
from labelwise.analysis.words import change, count, interval, listed, number, p_value
from labelwise.config import Study
from labelwise.parts import ZERO_SHOT_STARTS
from labelwise.records import Store
from labelwise.strategies import BASELINE

COLUMNS = ("row", "labels", "arm", "seeds", "accuracy %", "to stratified, points", "to random, points",
           "oracle-assisted")  # fmt: skip
READS = {
    "whole sample": "the whole sample is drawn by hidden labels",
    "initial labels": "start: stratified, so the initial labels are",
    "pool": "pool: subset, which is drawn by hidden labels",
    "initial images": "its first images are looked for in the row's subset, which is drawn by hidden labels",
}
"""What an arm can take from hidden labels, and how that is explained."""
NAMED = 12
"""Arms that differ are named in the overall lines up to so many; the rows' own lines name them all."""


STATUS, AT_N, ONE_PART = "How far it is", "At equal labels", "One part changed"
TO_MATCH, HOW_SURE = "Labels to match the baseline", "How sure it is"
"""The questions that a verdict answers, in order."""


@dataclass(frozen=True)
class Verdict:
    """What a study shows. answers: question -> lines, the most general first; rows: heading -> lines of accuracy at N;
    table: text, a row an arm."""

    answers: dict[str, list[str]]
    rows: dict[str, list[str]]
    table: pd.DataFrame

    @property
    def overall(self) -> list[str]:
        """All answers, a line each."""
        return [line for lines in self.answers.values() for line in lines]

    @property
    def lines(self) -> list[str]:
        """All lines: the overall ones, then `Row 3% (1,500 labels, 5 seeds): margin 72.5 % ...` for each arm."""
        return [*self.overall, *[f"{heading}: {line}" for heading, lines in self.rows.items() for line in lines]]


def verdict(store: Store) -> Verdict:
    """Return the verdict on a store's finished runs: accuracy at N, labels to match the baseline, how sure it is."""
    study = Study.model_validate(store.study()["config"])
    rounds, whole = rounds_with_halves(store), study.stop == "budget"
    runs = per_run(rounds, whole)
    to_match, changed = needed(matches(rounds, whole)), changes(runs, "accuracy")
    return judge(study, runs, to_match, changed, fits_with_problems(rounds))


def judge(
    study: Study, runs: pd.DataFrame, to_match: pd.DataFrame, changed: pd.DataFrame, problems: list[str]
) -> Verdict:
    """Return the verdict on finished runs.

    runs: as of `per_run`; to_match: as of `matching.needed`; changed: of accuracy, as of `changes`;
    problems: of the fits, as of `fits_with_problems`.
    """
    trouble = [f"Fits with a problem: {line}." for line in problems]
    if runs.empty:
        planned = len(study.sizes) * len(study.arms) * len(study.seeds)
        status = [f"0 of {planned:,} runs finished: no verdict yet.", *trouble]
        return Verdict({HOW_SURE: status}, {}, pd.DataFrame(columns=[*COLUMNS]))
    compared = differences(runs, "accuracy")
    answers = {
        STATUS: _status(study, progress(study, runs)),
        AT_N: _at_budget(study, runs, compared),
        ONE_PART: said(changed),
        TO_MATCH: labels_to_match(study, to_match),
        HOW_SURE: [*trouble, *_oracle(study), *certainty(compared)],
    }
    lines: dict[str, list[str]] = {}
    table = []
    for mean in dicts(means(runs, "accuracy").query("n > 0")):
        own = {c["against"]: c for c in dicts(compared) if (c["row"], c["arm"]) == (mean["row"], mean["arm"])}
        budgets = runs.loc[runs["row"] == mean["row"], "budget"]
        heading = _heading(study, mean["row"], budgets)
        lines.setdefault(heading, []).append(_line(study, mean, own))
        table.append(_table_row(study, mean, own, _span(budgets)))
    found = {question: said for question, said in answers.items() if said}
    return Verdict(found, lines, pd.DataFrame(table, columns=[*COLUMNS]))


def _at_budget(study: Study, runs: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    if study.stop != "budget":
        return ["Runs stop where they beat the baseline's test results: nothing is compared at N."]
    lines = [*_against(study, compared, BASELINE), *_against(study, compared, RANDOM)]
    return [*lines, *between_strategies(between(runs, "accuracy"))]


def oracle_assisted(study: Study, name: str) -> str:
    """Return what an arm takes from hidden labels: keys of READS, joined by `and`; nothing where it takes none."""
    arm = next(arm for arm in study.arms if study.arm_name(arm) == name)
    if arm.strategy == BASELINE:
        return "whole sample"
    found = ["initial labels"] if arm.start == "stratified" else []
    if arm.pool == "subset":
        found.append("pool")
    elif arm.start in ZERO_SHOT_STARTS and study.zero_shot.pool == "subset":
        found.append("initial images")
    return listed(found)


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
    unclear = int(tested["call"].isin(("no difference shown", "similar")).sum())
    similar = int((tested["call"] == "similar").sum())
    parts.append(f"no difference shown in {unclear or 'none'}" + (f" ({similar} within one point)" if similar else ""))
    if same := int(((own["call"] == "no verdict") & (own["n_pairs"] > 1) & (own["difference"] == 0)).sum()):
        parts.append(f"{count(same, 'more comparison')} of equal results (both end with the same labelled set)")
    if untested := len(own) - len(tested) - same:
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
    reads = {name: oracle_assisted(study, name).split(" and ") for name in names}
    of = {key: [name for name in names if key in reads[name]] for key in READS}
    parts = [f"{_all_other(found, names)} ({READS[key]})" for key, found in of.items() if found]
    return [f"Oracle-assisted: {'; '.join(parts)}."] if parts else []


def _all_other(named: list[str], names: list[str]) -> str:
    """Return these names, or, where they are many and all that are not baselines, that they are all."""
    others = [name for name in names if not name.startswith(BASELINE)]
    if len(named) <= 4 or named != others:
        return listed(named)
    return "every arm" if others == names else "every other arm"


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
    if call == "similar":
        return f", no difference shown, and within one point ({p_value(comparison['p_equivalence_holm'])}{corrected})"
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
    call = {"no difference shown": "none shown", "similar": "within one point"}.get(
        comparison["call"], comparison["call"]
    )
    difference = change(comparison["difference"], "accuracy")
    return f"{difference}{interval(comparison['low'], comparison['high'], 'accuracy')} {call}"

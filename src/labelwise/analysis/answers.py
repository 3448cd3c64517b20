"""Answers in words beyond accuracy at N: labels to match the baseline, strategy against strategy, how sure it is."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from labelwise.analysis.compare import RANDOM
from labelwise.analysis.matching import ORACLE
from labelwise.analysis.results import dicts
from labelwise.analysis.statistics import LEVEL, smallest_sign_p
from labelwise.analysis.words import count, listed, number, percent, span
from labelwise.config import Arm, Study
from labelwise.strategies import BASELINE

HONEST = "accuracy"
"""The rule that the verdict rests on; the published one stands beside it."""


def labels_to_match(study: Study, needed: pd.DataFrame) -> list[str]:
    """Return the lines on labels to match the baseline's accuracy: all together, oracle stopping, one a group of arms.

    A group is a row's arms with the same start, pool, weighting and labeler, held against the random arm among them.
    needed: as of `matching.needed`.
    """
    whole = study.stop == "budget"
    own = needed[needed["rule"] == (HONEST if whole else ORACLE)]
    if own.empty:
        return []
    groups = [dicts(part) for _, part in own.assign(group=_groups(study, own)).groupby("group", sort=False)]
    lines = [_group_line(study, group) for group in groups]
    return [_overall(own, study, whole), *_oracle_stopping(study, needed), *lines]


def _overall(own: pd.DataFrame, study: Study, whole: bool) -> str:
    active = own[own["arm"].isin(_active(study))]
    tested = active[active["call"] != "no verdict"]
    head = "Labels to match the baseline's accuracy" if whole else (
        "Labels until a run beats the baseline's test accuracy and loss (oracle stopping: every run ends there, so "
        "that an honest estimate is not possible)"
    )  # fmt: skip
    if tested.empty:
        return f"{head}: no verdict in {count(len(active), 'comparison')}; what was found stands below."
    fewer = tested[tested["call"] == "fewer"]
    text = f"{head}: fewer than N shown in {len(fewer)} of {count(len(active), 'comparison')}"
    if without := len(active) - len(tested):
        text += f" ({without} without a verdict)"
    own_saving = fewer[fewer["control_call"] == "fewer"]
    if len(fewer):
        text += f"; {len(own_saving) or 'none'} of these shown to need fewer than random in the same pool too"
    halves = " A seed matches where it does on both halves of the test set." if whole else ""
    return f"{text}.{halves}"


def _groups(study: Study, own: pd.DataFrame) -> list[str]:
    """Return a name a line of what is compared: what its arms share."""
    arms = {study.arm_name(arm): arm for arm in study.arms}
    return [
        " ".join([row, *_shared(study, arms[arm]).values()]) for row, arm in zip(own["row"], own["arm"], strict=True)
    ]


def _shared(study: Study, arm: Arm) -> dict[str, str]:
    """Return what arms share that are held against each other, by what it is called."""
    labeler = arm.labeler or study.labeler
    return {
        "pool": str(arm.pool),
        "start": str(arm.start),
        "class weights": str(arm.weighting),
        "labeler": labeler.name,
    }


def _group_line(study: Study, group: list[dict[str, Any]]) -> str:
    """Say what a row's strategies need that share all else, and whether it is the pool that saves."""
    arms = {study.arm_name(arm): arm for arm in study.arms}
    first = _shared(study, arms[group[0]["arm"]])
    several = [key for key in first if len({_shared(study, arm)[key] for arm in study.arms}) > 1]
    where = [f"row {group[0]['row']}"]
    where += [f"{first[key]} pool" if key == "pool" else f"{key}: {first[key]}" for key in several]
    heading = ", ".join(where)
    strategies = [one for one in group if arms[one["arm"]].strategy != RANDOM]
    controls = [one for one in group if arms[one["arm"]].strategy == RANDOM]
    said = "; ".join(f"{short(study, one['arm'])} {needs(one)}" for one in strategies)
    if not strategies:
        return f"{heading[0].upper()}{heading[1:]}: random {needs(controls[0])}."
    against = f"; random in the same pool {needs(controls[0])}" if controls else ""
    limit = " Every run here ends with the baseline's own labels, so that it needs N at most."
    return (
        f"{heading[0].upper()}{heading[1:]}, {number(group[0]['budget'], 'labels')} labels: {said}{against}. "
        f"{_source_of_saving(study, strategies, controls[0] if controls else None)}"
        f"{limit if all(one['within'] for one in group) else ''}"
    )


def short(study: Study, name: str) -> str:
    """Return an arm's name without its start, pool, weighting and labeler, which stand beside it."""
    arm = next(arm for arm in study.arms if study.arm_name(arm) == name)
    return " ".join([arm.strategy, *[f"{key}={value}" for key, value in sorted(arm.options.items())]])


def needs(one: dict[str, Any]) -> str:
    """Say what an arm needs: `needs 640 (51 % fewer, 95 % interval 45 to 57)`. one: a row of `matching.needed`."""
    matched = f"matches in {int(one['reached']) or 'none'} of {count(int(one['n']), 'seed')}"
    if one["half"] and one["rule"] != ORACLE:
        matched += f", in {one['half']} more on one half of the test set"
    shown = ": more than N is shown" if one["call"] == "more" else ""
    if one["within"]:
        if one["call"] != "fewer" and percent(one["reduction"]) == "0":
            could = f"95 % interval 0 to {percent(one['high'])} % fewer; " if one["high"] > 0 else ""
            return f"shows no saving, N at most ({could}earlier it {matched})"
    elif not one["reached"]:
        return matched + shown
    elif math.isnan(one["labels"]) or (one["reached"] < one["n"] and one["labels"] > one["budget"]):
        return f"needs more than N on average ({matched}){shown}"
    more = "fewer" if one["reduction"] >= 0 else "more"
    text = f"needs {number(one['labels'], 'labels')} ({percent(abs(one['reduction']))} % {more}"
    if not math.isnan(one["low"]):
        text += f", 95 % interval {reduction_span(one['low'], one['high'])}"
    return text + (f"; {matched}, else counted as more)" if one["reached"] < one["n"] else ")")


def reduction_span(low: float, high: float) -> str:
    """Return an interval of a reduction in per cent: `45 to 57`; `open to 57` where nothing bounds it below."""
    return f"{'open' if low < -1 else percent(low)} to {percent(high)}"


def _source_of_saving(study: Study, strategies: list[dict[str, Any]], control: dict[str, Any] | None) -> str:
    """Say whether the saving is the strategy's or the pool's: random in the same pool is the control."""
    if control is None:
        return "No random arm in this pool: whether the pool saves or the strategy is not known."
    calls = {
        call: [short(study, one["arm"]) for one in strategies if one["control_call"] == call]
        for call in ("fewer", "more", "no difference shown", "no verdict")
    }
    parts = []
    saving = {short(study, one["arm"]) for one in strategies if one["call"] == "fewer"}
    for call in ("fewer", "more"):
        if names := calls[call]:
            own = "part of the saving is the strategy's own, the rest the pool's"
            if control["call"] != "fewer" or control["within"]:
                own = "at least part of the saving is the strategy's own"
            meaning = f": {own}" if call == "fewer" and saving >= set(names) else ""
            times = [_times(one) for one in strategies if one["control_call"] == call]
            said = listed([f"{name}{by}" for name, by in zip(names, times, strict=True)])
            parts.append(f"{said} {'need' if len(names) > 1 else 'needs'} {call} than random{meaning}")
    if calls["no difference shown"]:
        said = "no difference to random shown"
        if control["call"] == "fewer":
            said = "random saves too, and no difference to it is shown"
            said += "" if control["within"] else ": the pool saves, the strategy is not shown to"
        if not control["reached"] and smallest_sign_p(control["n"]) * len(strategies) > 1 - LEVEL:
            said += f", which matches in none of {control['n']} seeds: too few for a sign test to show one"
        parts.append(f"{listed(calls['no difference shown'])}: {said}")
    if calls["no verdict"] and len(study.seeds) > 1:
        parts.append(f"{listed(calls['no verdict'])}: no verdict against random")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else "One seed: no verdict."


def _times(one: dict[str, Any]) -> str:
    """Return ` (0.93 times)`: an arm's labels over its control's, or nothing where bounds alone are known."""
    return "" if math.isnan(one["control_ratio"]) else f" ({one['control_ratio']:.2f} times)"


def _oracle_stopping(study: Study, needed: pd.DataFrame) -> list[str]:
    """Return a line on the published rule, beside the honest estimate, over all that is compared."""
    wide = needed.pivot(index=["row", "arm"], columns="rule", values="reduction")
    if not {ORACLE, HONEST} <= set(wide.columns):
        return []
    wide = wide.reindex([key for key in wide.index if key[1] in _active(study)])[[ORACLE, HONEST]]
    if wide.isna().all(axis=None):
        return []
    oracle, honest = (_middle(wide[rule]) for rule in (ORACLE, HONEST))
    return [
        "Oracle stopping, the published rule (the first round with higher test accuracy and lower test loss), has a "
        f"median of {oracle} over {count(len(wide), 'row and arm', 'rows and arms')}; the honest estimate, of accuracy "
        f"alone, of {honest}."
    ]


def _middle(reductions: pd.Series) -> str:
    """Say the median of reductions; NaN, where no seed matches, is more than N and so the least of all."""
    never, middle = int(reductions.isna().sum()), reductions.fillna(-math.inf).median()
    text = f"{percent(middle)} % fewer labels" if middle >= 0 else "N or more labels"
    return text + (f" ({never} match in no seed and count as more than N)" if never else "")


def _active(study: Study) -> set[str]:
    return {study.arm_name(arm) for arm in study.arms if arm.strategy not in (BASELINE, RANDOM)}


def between_strategies(compared: pd.DataFrame) -> list[str]:
    """Return what can be said of one strategy against another at N. compared: as of `compare.between`."""
    own = compared[compared["n_pairs"] > 0]
    tested = own[own["call"] != "no verdict"]
    if tested.empty:
        return []
    shown = tested[tested["call"].isin(("higher", "lower"))]
    similar = int(tested["within_point"].sum())
    head = f"Between the strategies, {count(len(tested), 'pair')} at equal labels"
    if shown.empty:
        text = f"{head}: no difference could be shown"
    else:
        best = [(one["arm"], one["reference"]) if one["call"] == "higher" else (one["reference"], one["arm"])
                for one in dicts(shown)]  # fmt: skip
        found = pd.Series([f"{a} above {b}" for a, b in best]).value_counts()
        named = [f"{text}{f' in {n} rows' if n > 1 else ''}" for text, n in found.items()]
        more = f" and {len(named) - 6} more" if len(named) > 6 else ""
        text = f"{head}: a difference shown in {len(shown)} ({'; '.join(named[:6])}{more})"
    return [f"{text}; shown to be within one point in {similar or 'none'}."]


def certainty(compared: pd.DataFrame) -> list[str]:
    """Say what so few seeds cannot show. compared: as of `compare.differences` of accuracy."""
    tested = compared[compared["call"] != "no verdict"]
    if tested.empty:
        return []
    low, middle, high = (number(float(tested["detectable"].quantile(q)), "accuracy") for q in (0.0, 0.5, 1.0))
    lines = [
        f"With {span(tested['n_pairs'])} paired seeds and the spread seen here, a true difference of {middle} points "
        f"({low} to {high}, by comparison) would be shown in 80 of 100 such studies, before correction; smaller ones "
        "are mostly missed."
    ]
    small = [int(n) for n in tested["n_pairs"] if smallest_sign_p(int(n)) > 1 - LEVEL]
    if small:
        lines.append(
            f"With {max(small)} seeds a two-sided sign or Wilcoxon test cannot go below p = "
            f"{smallest_sign_p(max(small)):g}; the p-values here are of paired t tests, which take the differences "
            "between seeds to be normal."
        )
    return lines

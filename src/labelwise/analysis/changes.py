"""One part changed: what another start, annotator, pool or weighting does to the same strategy at equal labels.

Pure functions of the records. Arms are compared that differ in this part alone; where random has the same two arms,
what the part does to a strategy is also held against what it does to random, seed by seed.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pandas as pd

from labelwise.analysis.compare import COMPARISON, PARTS, RANDOM, family
from labelwise.analysis.labels import TRUTH
from labelwise.analysis.results import dicts
from labelwise.analysis.statistics import LEVEL, holm, paired_t
from labelwise.analysis.words import change, count, interval
from labelwise.strategies import BASELINE

CHANGED = {"start": "start", "labeler": "labeler", "pool": "pool", "weighting": "class weights"}
"""The parts that are compared, and what they are called."""
USUAL = {"start": "stratified", "labeler": TRUTH, "pool": "full", "weighting": "none"}
"""What a change starts from, where a study has it; else from what its arms name first."""
BEYOND = ("beyond", "beyond_low", "beyond_high", "beyond_p", "beyond_p_holm")
"""What a part does to a strategy beyond what it does to random: difference, interval, p, and p after Holm."""
NAMED = 8
"""Comparisons are told one by one up to so many, else counted."""


def changes(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return paired (same seed) differences of arms that differ in one part: a row a pair of arms.

    Columns: COMPARISON of `compare` (against: the part), strategy, value and other (of the part, in `arm` and in
    `reference`), and BEYOND (NaN for random and the baseline, and where random lacks one of the two). Holm over a row's
    pairs of one part. Pairs of the very same last fits, as of arms that end with the same labels, stand once.
    runs: as of `compare.per_run`.
    """
    found: list[dict[str, Any]] = []
    for row, part in runs.groupby("row", sort=False):
        values = part.pivot(index="seed", columns="arm", values=column)
        for name in CHANGED:
            pairs = _pairs(part, name)
            compared = family(str(row), part, column, name, [(pair["arm"], pair["reference"]) for pair in pairs])
            beyond = [_beyond(values, pair) for pair in pairs]
            for one, p in zip(beyond, holm([one["beyond_p"] for one in beyond]).tolist(), strict=True):
                one["beyond_p_holm"] = p
            found += [{**a, **b, **c} for a, b, c in zip(pairs, compared, beyond, strict=True)]
    return pd.DataFrame(found, columns=[*COMPARISON, "strategy", "value", "other", *BEYOND])


def _pairs(runs: pd.DataFrame, part: str) -> list[dict[str, str]]:
    """Return the pairs of arms that differ in a part alone; `random` and `random_reference` are the control's two."""
    arms = runs.drop_duplicates("arm")
    others = [name for name in (*PARTS, "options") if name not in (part, "strategy")]
    of_random = {tuple(one[name] for name in (*others, part)): one["arm"] for one in dicts(arms)
                 if one["strategy"] == RANDOM}  # fmt: skip
    found: list[dict[str, str]] = []
    fits = runs.pivot(index="seed", columns="arm", values="fit_key")
    for (strategy, *_), group in arms.groupby(["strategy", *others], sort=False):
        usual_first = sorted(dicts(group), key=lambda one: one[part] != USUAL[part])
        for reference, own in combinations(usual_first, 2):
            if any(_same(fits, (own["arm"], reference["arm"]), (pair["arm"], pair["reference"])) for pair in found):
                continue
            shared = [{**own, "options": "{}"}[name] for name in others]
            control = [of_random.get((*shared, one[part]), "") for one in (own, reference)]
            if part == "pool":  # inside the subset all end with the same labels: what it does says nothing more
                control = ["", ""]
            found.append({"arm": own["arm"], "reference": reference["arm"], "strategy": str(strategy),
                          "value": own[part], "other": reference[part], "random": control[0],
                          "random_reference": control[1]})  # fmt: skip
    return found


def _same(fits: pd.DataFrame, pair: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether two pairs of arms end with the very same fits, in every seed that both have."""
    keys = fits[[*pair, *other]].dropna().to_numpy()
    return bool(len(keys)) and bool((keys[:, :2] == keys[:, 2:]).all())


def _beyond(values: pd.DataFrame, pair: dict[str, str]) -> dict[str, Any]:
    names = [pair[key] for key in ("arm", "reference", "random", "random_reference")]
    if pair["strategy"] in (BASELINE, RANDOM) or "" in names:  # the control's own effect is no news of it
        return dict.fromkeys(BEYOND, math.nan)
    own = values[names].dropna().to_numpy()
    estimate, p = paired_t((own[:, 0] - own[:, 1]) - (own[:, 2] - own[:, 3]))
    return dict(zip(BEYOND, (estimate.mean, estimate.low, estimate.high, p), strict=False))


def said(found: pd.DataFrame) -> list[str]:
    """Say what each change does to accuracy at N: a line a part and pair of values. found: as of `changes`."""
    lines = []
    tested = found[found["n_pairs"] > 1]
    for (part, value, other), group in tested.groupby(["against", "value", "other"], sort=False):
        row = "" if _rows(group) else f"row {group['row'].iloc[0]}, "
        head = f"{CHANGED[str(part)]}: {value} against {other}, {row}{count(len(group), 'comparison')} at equal labels"
        lines.append(f"{head[0].upper()}{head[1:]}: {_told(group)}.{_beyond_random(group)}")
    return lines


def _told(group: pd.DataFrame) -> str:
    if len(group) <= NAMED:
        return "; ".join(f"{_where(one, group)} {_effect(one, '')}, {one['call']}" for one in dicts(group))
    calls = group["call"].value_counts()
    parts = [f"{call} accuracy in {_named(group[group['call'] == call], group)}" for call in ("higher", "lower")]
    unclear = calls.get("no difference shown", 0) + calls.get("similar", 0)
    within = f" ({calls['similar']} within one point)" if "similar" in calls else ""
    return f"{'; '.join(parts)}; no difference shown in {unclear or 'none'}{within}{_range(group['difference'])}"


def _named(shown: pd.DataFrame, group: pd.DataFrame) -> str:
    """Return how many, and which where they are few: `2 (row 3%, margin; row 10%, margin)`."""
    if shown.empty or len(shown) > NAMED:
        return str(len(shown) or "none")
    return f"{len(shown)} ({'; '.join(_where(one, group) for one in dicts(shown))})"


def _range(differences: pd.Series) -> str:
    low, middle, high = (change(float(value), "accuracy") for value in differences.quantile([0, 0.5, 1]))
    return f" (median {middle} points, {low} to {high})"


def _beyond_random(group: pd.DataFrame) -> str:
    own = group.dropna(subset=["beyond"])
    if own.empty:
        return ""
    shown = own[own["beyond_p_holm"] < 1 - LEVEL]
    if len(own) > NAMED:
        return f" Beyond what it does to random, of {len(own)} a difference is shown in {_named(shown, group)}."
    effects = [
        f"{_where(one, group)} {_effect(one, 'beyond_')}, {'' if one['beyond_p_holm'] < 1 - LEVEL else 'not '}shown"
        for one in dicts(own)
    ]
    return f" Beyond what it does to random: {'; '.join(effects)}."


def _where(one: dict[str, Any], group: pd.DataFrame) -> str:
    """Return `row 3%, margin`, with the arm's whole name where a strategy stands several times in a row."""
    several = (group["row"] == one["row"]) & (group["strategy"] == one["strategy"])
    name = one["arm"] if several.sum() > 1 else one["strategy"]
    return f"row {one['row']}, {name}" if _rows(group) else str(name)


def _rows(group: pd.DataFrame) -> bool:
    """Return whether there are several rows, which then stand beside each arm; else the one stands in front."""
    return group["row"].nunique() > 1


def _effect(one: dict[str, Any], prefix: str) -> str:
    difference = one["beyond" if prefix else "difference"]
    return f"{change(difference, 'accuracy')} points{interval(one[f'{prefix}low'], one[f'{prefix}high'], 'accuracy')}"

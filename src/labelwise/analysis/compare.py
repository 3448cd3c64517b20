"""Comparisons at the label budget N: means over seeds, paired differences to baseline, random, each other.

Everything here starts from `per_run`, a row a finished run, and works on any of its columns.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pandas as pd

from labelwise.analysis.curves import METRICS, areas
from labelwise.analysis.results import KEYS
from labelwise.analysis.statistics import LEVEL, detectable, equivalence, holm, paired_t, t_interval
from labelwise.config import Study
from labelwise.strategies import BASELINE

RANDOM = "random"
"""The control: what a strategy is worth is its difference to this arm."""
PARTS = ["strategy", "start", "pool", "weighting", "labeler"]
SECONDS = ["seconds_train", "seconds_score", "seconds_select", "seconds_evaluate", "seconds_zero_shot"]
COUNTS = ["epochs", "images_forward", "images_backward"]
LABELS = ["labels", "labels_train", "labels_val", "labels_pseudo", "labels_bought", "labels_twice"]
COSTS = ["seconds", *SECONDS, *COUNTS, *LABELS, "peak_memory_mb"]
"""What a run costs: sums over its rounds; labels are those of its last round, memory is the largest."""
SHARED_PARTS = {BASELINE: ["weighting", "labeler"], RANDOM: ["start", "pool", "weighting", "labeler"]}
"""What an arm must share with the arm that it is compared with. The baseline has neither start nor pool."""
CALLS = ("higher", "lower", "similar", "no difference shown", "no verdict")
"""similar: no difference shown, and shown to be within one point (accuracy, macro F1, area)."""
POINTS = ("accuracy", "macro_f1", "area")
"""Columns whose differences are points, so that `within one point` means something."""
COMPARISON = ("row", "arm", "against", "reference", "n_pairs", "mean", "reference_mean", "difference", "low", "high",
              "p", "p_holm", "comparisons", "p_equivalence", "p_equivalence_holm", "within_point", "detectable",
              "call")  # fmt: skip


def per_run(rounds: pd.DataFrame, whole: bool = True) -> pd.DataFrame:
    """Return a row a finished run: its parts, the metrics at N, `area` (of accuracy) and its total costs.

    rounds: as of `results.rounds`. Runs that are not finished are left out. whole: runs go on to N; where they stop
    earlier, the metrics and the area of all but the baseline are NaN, for nothing is compared at N.
    """
    done = rounds[rounds["status"] == "done"]
    runs = done.groupby(KEYS, sort=False)
    last = runs[[*PARTS, "options", "budget", "fit_key", *METRICS, *LABELS]].last()
    frame = last.join(runs[[*SECONDS, *COUNTS]].sum()).join(runs["peak_memory_mb"].max()).reset_index()
    frame["seconds"] = frame[SECONDS].sum(axis=1)
    frame = frame.merge(areas(done, "accuracy"), on=KEYS, how="left")
    if not whole:
        frame.loc[frame["strategy"] != BASELINE, [*METRICS, "area"]] = math.nan
    return frame


def means(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return n, mean, low, high of a column over the seeds: a row a (row, arm). runs: as of `per_run`."""
    rows = []
    for (row, arm), part in runs.groupby(["row", "arm"], sort=False):
        found = t_interval(part[column].dropna())
        rows.append((row, arm, found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["row", "arm", "n", "mean", "low", "high"])


def differences(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return paired (same seed) differences of a column to the baseline and to random: a row a comparison.

    Columns COMPARISON: row, arm, against (stratified or random), reference (that arm's name), n_pairs, mean and
    reference_mean (over the pairs), difference, low, high (95 % paired t), p, p_holm (Holm over the `comparisons` of
    the row's strategies with the same start, pool and weighting against the same), p_equivalence (of two one-sided
    tests within one point) and its Holm, within_point (the latter below 0.05), detectable (the difference that so many
    pairs would show in 80 of 100 studies), call (one of CALLS). Arms are compared with the arm that shares their other
    parts; where there is none, there is no row. runs: as of `per_run`.
    """
    found: list[dict[str, Any]] = []
    for row, part in runs.groupby("row", sort=False):
        arms = part.drop_duplicates("arm").set_index("arm")
        for against in (BASELINE, RANDOM):
            own = arms[~arms["strategy"].isin((BASELINE, against))]
            for _, arms_of_one in own.groupby(SHARED_PARTS[RANDOM], sort=False):
                pairs = [(str(arm), reference_arm(arms, str(arm), against)) for arm in arms_of_one.index]
                found += family(str(row), part, column, against, [(a, b) for a, b in pairs if b is not None])
    return pd.DataFrame(found, columns=[*COMPARISON])


def between(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return paired differences between the strategies of each row, every pair that shares start, pool and weighting.

    Columns as of `differences`, against: strategy. Holm over the pairs of a row with the same parts. runs: as of
    `per_run`.
    """
    found: list[dict[str, Any]] = []
    for row, part in runs.groupby("row", sort=False):
        arms = part.drop_duplicates("arm")
        groups = arms[~arms["strategy"].isin((BASELINE, RANDOM))].groupby(SHARED_PARTS[RANDOM], sort=False)["arm"]
        for _, names in groups:
            found += family(str(row), part, column, "strategy", list(combinations(names.tolist(), 2)))
    return pd.DataFrame(found, columns=[*COMPARISON])


def family(
    row: str, runs: pd.DataFrame, column: str, against: str, pairs: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Return the comparison of each pair of arms in one row, as COMPARISON; Holm's correction is over them."""
    values = runs.pivot(index="seed", columns="arm", values=column)
    found: list[dict[str, Any]] = []
    for arm, reference in pairs:
        both = values[[arm, reference]].dropna()
        each = both[arm] - both[reference]
        estimate, p = paired_t(each)
        found.append({
            "row": row, "arm": arm, "against": against, "reference": reference, "n_pairs": estimate.n,
            "mean": both[arm].mean(), "reference_mean": both[reference].mean(), "difference": estimate.mean,
            "low": estimate.low, "high": estimate.high, "p": p, "detectable": detectable(each),
            "p_equivalence": equivalence(each) if column in POINTS else math.nan,
        })  # fmt: skip
    corrected = holm([one["p"] for one in found])
    similar = holm([one["p_equivalence"] for one in found])
    tests = sum(not math.isnan(p) for p in corrected)
    for one, p, within in zip(found, corrected.tolist(), similar.tolist(), strict=True):
        near = within < 1 - LEVEL
        one.update(p_holm=p, comparisons=tests, p_equivalence_holm=within, within_point=near,
                   call=_call(one["difference"], p, near))  # fmt: skip
    return found


def _call(difference: float, p_holm: float, within_point: bool) -> str:
    if math.isnan(p_holm):
        return "no verdict"
    if p_holm >= 1 - LEVEL:
        return "similar" if within_point else "no difference shown"
    return "higher" if difference > 0 else "lower"


def reference_arm(arms: pd.DataFrame, arm: str, against: str) -> str | None:
    """Return the first arm of strategy `against` that shares the other parts of `arm`, or None.

    arms: indexed by name, with the columns of PARTS.
    """
    same = arms["strategy"] == against
    for part in SHARED_PARTS[against]:
        same &= arms[part] == arms.loc[arm, part]
    return str(arms.index[same][0]) if same.any() else None


def costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the mean costs of a run, over the seeds: a row a (row, arm), n and the columns of COSTS."""
    groups = runs.groupby(["row", "arm"], sort=False)
    return groups[COSTS].mean().assign(n=groups.size()).reset_index()[["row", "arm", "n", *COSTS]]


def progress(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """Return how many runs are planned and finished: a row a (row, arm), in the study's order."""
    finished = runs.groupby(["row", "arm"]).size().to_dict()
    rows = [
        (row.name, study.arm_name(arm), len(study.seeds), finished.get((row.name, study.arm_name(arm)), 0))
        for row in study.sizes
        for arm in study.arms
    ]
    return pd.DataFrame(rows, columns=["row", "arm", "planned", "finished"])

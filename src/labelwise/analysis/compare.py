"""Comparisons at the label budget N: means over seeds, paired differences to the baseline and to random, costs.

Everything here starts from `per_run`, a row a finished run, and works on any of its columns.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from labelwise.analysis.curves import METRICS, areas
from labelwise.analysis.results import KEYS
from labelwise.analysis.statistics import LEVEL, holm, paired_t, t_interval
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
CALLS = ("higher", "lower", "no difference shown", "no verdict")


def per_run(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return a row a finished run: its parts, the metrics at N, `area` (of accuracy) and its total costs.

    rounds: as of `results.rounds`. Runs that are not finished are left out.
    """
    done = rounds[rounds["status"] == "done"]
    runs = done.groupby(KEYS, sort=False)
    last = runs[[*PARTS, "budget", *METRICS, *LABELS]].last()
    frame = last.join(runs[[*SECONDS, *COUNTS]].sum()).join(runs["peak_memory_mb"].max()).reset_index()
    frame["seconds"] = frame[SECONDS].sum(axis=1)
    return frame.merge(areas(done, "accuracy"), on=KEYS, how="left")


def means(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return n, mean, low, high of a column over the seeds: a row a (row, arm). runs: as of `per_run`."""
    rows = []
    for (row, arm), part in runs.groupby(["row", "arm"], sort=False):
        found = t_interval(part[column].dropna())
        rows.append((row, arm, found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["row", "arm", "n", "mean", "low", "high"])


def differences(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return paired (same seed) differences of a column to the baseline and to random: a row a comparison.

    Columns: row, arm, against (stratified or random), reference (that arm's name), n_pairs, mean and reference_mean
    (over the pairs), difference, low, high (95 % paired t), p, p_holm (Holm over the `comparisons` of the row against
    the same), call (one of CALLS). Arms are compared with the arm that shares their other parts; where there is none,
    there is no row. runs: as of `per_run`.
    """
    found = [
        comparison
        for row, part in runs.groupby("row", sort=False)
        for against in (BASELINE, RANDOM)
        for comparison in _family(str(row), part, column, against)
    ]
    columns = ["row", "arm", "against", "reference", "n_pairs", "mean", "reference_mean", "difference", "low", "high",
               "p", "p_holm", "comparisons", "call"]  # fmt: skip
    return pd.DataFrame(found, columns=columns)


def _family(row: str, runs: pd.DataFrame, column: str, against: str) -> list[dict[str, Any]]:
    """Compare every arm of one row with its reference; Holm's correction is over these."""
    values = runs.pivot(index="seed", columns="arm", values=column)
    arms = runs.drop_duplicates("arm").set_index("arm")
    found: list[dict[str, Any]] = []
    for arm in arms.index[~arms["strategy"].isin((BASELINE, against))]:
        reference = reference_arm(arms, arm, against)
        if reference is None:
            continue
        pairs = values[[arm, reference]].dropna()
        estimate, p = paired_t(pairs[arm] - pairs[reference])
        found.append({
            "row": row, "arm": arm, "against": against, "reference": reference, "n_pairs": estimate.n,
            "mean": pairs[arm].mean(), "reference_mean": pairs[reference].mean(), "difference": estimate.mean,
            "low": estimate.low, "high": estimate.high, "p": p,
        })  # fmt: skip
    corrected = holm([comparison["p"] for comparison in found])
    tests = sum(not math.isnan(p) for p in corrected)
    return [
        {**comparison, "p_holm": p, "comparisons": tests, "call": _call(comparison["difference"], p)}
        for comparison, p in zip(found, corrected.tolist(), strict=True)
    ]


def _call(difference: float, p_holm: float) -> str:
    if math.isnan(p_holm):
        return "no verdict"
    if p_holm >= 1 - LEVEL:
        return "no difference shown"
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

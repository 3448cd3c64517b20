"""Labels that are wrong: how many each arm has, round by round, and what annotators' errors cost it in accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd

from labelwise.analysis.results import KEYS
from labelwise.analysis.statistics import holm, paired_t, t_interval

SAME = ["row", "strategy", "start", "pool", "weighting", "options"]
"""What an arm shares with the arm of true labels that it is compared with."""
TRUTH = "truth"


def wrong(details: pd.DataFrame) -> pd.DataFrame:
    """Return how many labels are wrong: a row a round of a finished run, with wrong (count) and share of the labels.

    details: as of `results.details`. Arms whose labels cannot be wrong have 0.
    """
    done = details[details["status"] == "done"]
    frame = done.drop(columns=["details", "status"])
    counts = [sum(found.get("wrong", {}).values()) for found in done["details"]]
    return frame.assign(wrong=counts, share=[n / max(1, m) for n, m in zip(counts, done["labels"], strict=True)])


def noise(wrong_: pd.DataFrame) -> pd.DataFrame:
    """Return a row a (row, arm, round): labels, labels_bought, n seeds, mean, low, high share of wrong labels.

    wrong_: as of `wrong`. Rounds that not all seeds reach are left out.
    """
    rows = []
    seeds = wrong_.groupby(["row", "arm"])["seed"].nunique().to_dict()
    for (row, arm, number), part in wrong_.groupby(["row", "arm", "round"], sort=False):
        if len(part) == seeds[row, arm]:
            found = t_interval(part["share"])
            labels, bought = part["labels"].mean(), part["labels_bought"].mean()
            rows.append((row, arm, number, labels, bought, found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["row", "arm", "round", "labels", "labels_bought", "n", "mean", "low", "high"])


def against_truth(runs: pd.DataFrame, wrong_: pd.DataFrame) -> pd.DataFrame:
    """Return what annotators' errors do to each arm at N: a row an arm whose labeler is not the truth.

    Columns: row, arm, strategy, labeler, labels_bought, share (of wrong labels at N), accuracy, and the paired
    difference of accuracy to the same arm with true labels: n_pairs, difference, low, high, p, p_holm (Holm over the
    row). NaN where there is no such arm. runs: as of `compare.per_run`.
    """
    last = wrong_.groupby(KEYS, sort=False)["share"].last().rename("share")
    frame = runs.merge(last, on=KEYS, how="left")
    rows = [
        _paired(own, frame[(frame["labeler"] == TRUTH) & (frame[SAME] == own[SAME].iloc[0]).all(axis=1)])
        for _, own in frame[frame["labeler"] != TRUTH].groupby(["row", "arm"], sort=False)
    ]
    found = pd.DataFrame(rows, columns=["row", "arm", "strategy", "labeler", "labels_bought", "share", "accuracy",
                                        "n_pairs", "difference", "low", "high", "p"])  # fmt: skip
    return found.assign(p_holm=found.groupby("row")["p"].transform(holm) if len(found) else [])


def _paired(own: pd.DataFrame, true: pd.DataFrame) -> dict[str, Any]:
    pairs = own.merge(true[["seed", "accuracy"]], on="seed", suffixes=("", "_true"))
    estimate, p = paired_t(pairs["accuracy"] - pairs["accuracy_true"])
    first = own.iloc[0]
    return {
        **{name: first[name] for name in ("row", "arm", "strategy", "labeler")},
        **{name: own[name].mean() for name in ("labels_bought", "share", "accuracy")},
        "n_pairs": estimate.n, "difference": estimate.mean, "low": estimate.low, "high": estimate.high, "p": p,
    }  # fmt: skip

"""Which strategy beats which along the curve: the pairwise matrix of Ash et al. (2020), section 5."""

from __future__ import annotations

import numpy as np
import pandas as pd

from labelwise.analysis.statistics import LEVEL, paired_t
from labelwise.strategies import BASELINE


def win_matrix(rounds: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Return, for every row, how often an arm beats another: columns row, arm, loser, share, tests.

    share: the part of the rounds after the first (equal labels, at least two seeds in common) at which a paired t test
    over the seeds, not corrected, shows the arm's metric to be higher; tests: how many rounds these are. By chance
    alone a share of 0.025 is to be expected. Every ordered pair of the row's arms that has such rounds. rounds: as of
    `results.rounds`; runs that are not finished are left out.
    """
    found = []
    done = rounds[(rounds["status"] == "done") & (rounds["strategy"] != BASELINE) & (rounds["round"] > 0)]
    for row, part in done.groupby("row", sort=False):
        values = part.pivot(index=["labels", "seed"], columns="arm", values=metric)
        names = list(dict.fromkeys(part["arm"]))
        for i, arm in enumerate(names):
            for other in names[i + 1 :]:
                higher, lower, tests = _count(values[arm] - values[other])
                if tests:
                    found += [(row, arm, other, higher / tests, tests), (row, other, arm, lower / tests, tests)]
    return pd.DataFrame(found, columns=["row", "arm", "loser", "share", "tests"])


def _count(differences: pd.Series) -> tuple[int, int, int]:
    """Return at how many numbers of labels differences by (labels, seed) are shown to be above 0, below, and tested."""
    higher = lower = tests = 0
    for _, group in differences.dropna().groupby(level="labels"):
        if len(group) < 2:
            continue
        tests += 1
        estimate, p = paired_t(group.to_numpy())
        if not np.isnan(p) and p < 1 - LEVEL:
            higher, lower = higher + (estimate.mean > 0), lower + (estimate.mean < 0)
    return higher, lower, tests

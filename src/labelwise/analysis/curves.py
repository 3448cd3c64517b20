"""Learning curves: a metric against labels, as mean and interval over seeds, and the area under a run's curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labelwise.analysis.results import KEYS
from labelwise.analysis.statistics import t_interval

METRICS = ("accuracy", "macro_f1", "loss", "ece")


def learning_curves(rounds: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a row a (row, arm, round): labels, n seeds, mean, low, high of a metric over the finished runs.

    rounds: as of `results.rounds`. Unfinished runs are left out, so that a curve's points rest on the same seeds. Where
    budgets differ between seeds (minority classes of unequal size), labels is their mean, and rounds that not all
    seeds reach are left out.
    """
    rows = []
    done = rounds[rounds["status"] == "done"]
    seeds = {key: part["seed"].nunique() for key, part in done.groupby(["row", "arm"])}
    for (row, arm, number), part in done.groupby(["row", "arm", "round"], sort=False):
        if len(part) < seeds[row, arm]:  # a round that only the larger budgets reach
            continue
        found = t_interval(part[metric])
        rows.append((row, arm, number, part["labels"].mean(), found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["row", "arm", "round", "labels", "n", "mean", "low", "high"])


def areas(rounds: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a row a run: the area under its curve by trapezoids over labels, divided by the range of labels.

    It is the metric's mean along the curve, in the metric's own unit; NaN for a run of a single round (no curve).
    """
    rows = [
        (*key, normalised_area(part["labels"].to_numpy(), part[metric].to_numpy()))
        for key, part in rounds.groupby(KEYS, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "area"])


def normalised_area(labels: NDArray[Any], values: NDArray[Any]) -> float:
    """Return the trapezoid area of (R,) values over (R,) increasing labels, divided by the labels' range."""
    if len(labels) < 2:
        return math.nan
    steps = np.diff(labels.astype(np.float64))
    return float((steps * (values[1:] + values[:-1]) / 2).sum() / steps.sum())

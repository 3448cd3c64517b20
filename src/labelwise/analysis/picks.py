"""Which classes an arm labels: the labelled set's composition, round by round."""

from __future__ import annotations

import pandas as pd


def class_shares(counts: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return each class's share of the labelled set, mean over the seeds: index (row, arm, round), a column a class.

    counts: as of `results.class_counts`. A class without labels has share 0; every line sums to 1.
    """
    keys = ["row", "arm", "seed", "round"]
    if counts.empty:
        nothing = pd.MultiIndex.from_arrays([[], [], []], names=["row", "arm", "round"])
        return pd.DataFrame(columns=classes, index=nothing)
    bought = counts.set_index([*keys, "label"])["count"].unstack(fill_value=0, sort=False)
    held = bought.reindex(columns=classes, fill_value=0).groupby(keys[:3], sort=False).cumsum()
    shares = held.div(held.sum(axis=1), axis=0)
    means = shares.groupby(["row", "arm", "round"], sort=False).mean()
    seeds = shares.groupby(["row", "arm", "round"], sort=False).size()
    return means[seeds == seeds.groupby(["row", "arm"]).transform("max")]  # rounds that every seed reaches


def most_unequal(shares: pd.DataFrame, limit: int) -> list[str]:
    """Return at most `limit` classes, in their own order: those whose final share differs most between the arms.

    shares: as of `class_shares`, of one row.
    """
    final = shares.groupby(["row", "arm"], sort=False).last()
    spread = (final.max() - final.min()).sort_values(ascending=False, kind="stable")
    chosen = set(spread.index[:limit])
    return [name for name in shares.columns if name in chosen]

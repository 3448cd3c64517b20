"""Which classes and which images an arm labels: composition, overlap with other arms, scores of what it picked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from labelwise.analysis.compare import RANDOM
from labelwise.analysis.results import in_order
from labelwise.records import ACQUISITIONS, RUNS, Store

ROLES = ("minority classes", "other classes")
"""What classes are in a row whose seeds have different minority classes."""


def class_shares(counts: pd.DataFrame, classes: list[str], started: pd.DataFrame) -> pd.DataFrame:
    """Return each class's share of the labelled set, mean over the seeds: index (row, arm, round), a column a class.

    In a row whose seeds have different minority classes a class is rare in one seed and not in another, and its mean
    says nothing: there the columns ROLES hold the shares of each seed's own minority classes together and of the
    others, and the classes NaN (elsewhere ROLES are NaN, or not there). counts: as of `results.class_counts`; started:
    as of `results.runs`. A class without labels has share 0; every line sums to 1.
    """
    if counts.empty:
        nothing = pd.MultiIndex.from_arrays([[], [], []], names=["row", "arm", "round"])
        return pd.DataFrame(columns=classes, index=nothing)
    rare = {(row, seed): frozenset(names) for row, seed, names in zip(
        started["row"], started["seed"], started["minority"], strict=True)}  # fmt: skip
    differs = {row: len({names for (other, _), names in rare.items() if other == row}) > 1 for row, _ in rare}
    found = []
    for row, part in counts.groupby("row", sort=False):
        if differs.get(row):
            roles = [
                ROLES[label not in rare[row, seed]] for seed, label in zip(part["seed"], part["label"], strict=True)
            ]
            found.append(_shares(part.assign(label=roles), [*ROLES]))
        else:
            found.append(_shares(part, classes))
    return pd.concat(found)


def _shares(counts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    keys = ["row", "arm", "seed", "round"]
    summed = counts.groupby([*keys, "label"], sort=False)["count"].sum()
    held = summed.unstack(fill_value=0, sort=False).reindex(columns=names, fill_value=0)
    held = held.groupby(keys[:3], sort=False).cumsum()
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


def patterns(store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how far arms buy the same images, and how their own scores of what they buy run over the rounds.

    Overlaps: row, arm, other, share, n. share: of the images bought after the start by both over those bought by either
    (Jaccard), mean over the n seeds that both have. Scores: row, arm, round, n seeds, mean, low, high (10 % and 90 % of
    a round's picks), means over the seeds. A score's scale is its strategy's own, the highest is picked first; random
    has none. Finished runs; read a row and seed at a time, for a study can have millions of labels.
    """
    shares: dict[tuple[str, str, str], list[float]] = {}
    scores = []
    for (row, seed), runs in _bought(store):
        for (arm, (own, _)), (other, (others, _)) in combinations(runs.items(), 2):
            both = len(np.intersect1d(own, others, assume_unique=True))
            shares.setdefault((row, arm, other), []).append(both / (len(own) + len(others) - both))
        for arm, (_, scored) in runs.items():
            scores += [(row, arm, seed, number, *_spread(part)) for number, part in scored.items()]
    overlaps = pd.DataFrame([(*key, sum(found) / len(found), len(found)) for key, found in shares.items()],
                            columns=["row", "arm", "other", "share", "n"])  # fmt: skip
    frame = pd.DataFrame(scores, columns=["row", "arm", "seed", "round", "mean", "low", "high"])
    groups = frame.groupby(["row", "arm", "round"], sort=False)
    return overlaps, groups[["mean", "low", "high"]].mean().assign(n=groups.size()).reset_index()


Bought = dict[str, tuple[NDArray[np.int64], dict[int, NDArray[np.float64]]]]


def _bought(store: Store) -> Iterator[tuple[tuple[str, int], Bought]]:
    """Yield for each row and seed: arm -> what it bought after its start, and its scores by round."""
    found = in_order(pd.DataFrame(_runs(store), columns=["id", "row", "arm", "seed", "strategy"]), store)
    columns = [ACQUISITIONS.c[name] for name in ("index", "round", "score")]
    for (row, seed), runs in found.groupby(["row", "seed"], sort=False):
        bought: Bought = {}
        for run in runs.itertuples():
            query = sa.select(*columns).where(ACQUISITIONS.c.run == run.id, ACQUISITIONS.c.round > 0)
            with store.transaction() as connection:
                rows = connection.execute(query).all()
            if rows:
                index, number, score = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
                scored = {} if run.strategy == RANDOM else {
                    int(r): part for r in np.unique(number)
                    if len(part := score[(number == r) & np.isfinite(score)])
                }  # fmt: skip
                bought[str(run.arm)] = index.astype(np.int64), scored
        yield (str(row), int(str(seed))), bought


def _runs(store: Store) -> list[Any]:
    query = sa.select(RUNS.c.id, RUNS.c.row, RUNS.c.arm, RUNS.c.seed, RUNS.c.strategy).where(RUNS.c.status == "done")
    with store.transaction() as connection:
        return [tuple(run) for run in connection.execute(query)]


def _spread(scores: NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = np.quantile(scores, (0.1, 0.9))
    return float(scores.mean()), float(low), float(high)

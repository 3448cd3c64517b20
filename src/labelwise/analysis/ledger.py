"""What a study spends: labels of every kind, seconds and counts by phase, prices, and the overhead of what is added."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from labelwise.analysis.compare import COUNTS, LABELS, PARTS, RANDOM, SECONDS
from labelwise.analysis.results import KEYS, dicts
from labelwise.analysis.statistics import paired_t, t_interval
from labelwise.config import Prices
from labelwise.strategies import BASELINE

SIMPLE = ("uncertainty", "margin")
"""The strategies that pick by probabilities alone: what clusters cost is held against them."""
CLUSTERING = ("entropy_typicality", "typiclust")
"""The strategies whose clustering the published study says makes training 1.5 times as long."""
WORK = ["seconds_train", "seconds_score", "seconds_select"]
"""The phases that a strategy can lengthen; evaluation is the study's own."""
OVERHEADS = {"seconds": [*WORK], "seconds_train": ["seconds_train"],
             "seconds_select": ["seconds_select"], "images_forward": ["images_forward"],
             "images_backward": ["images_backward"], "epochs": ["epochs"]}  # fmt: skip


def seconds_once(rounds: pd.DataFrame) -> pd.Series:
    """Return the seconds of embedding that each round was charged with in its scoring, by the rounds' index.

    Records hold them within round 0's scoring. So they are taken to be what round 0 has beyond round 1, where that is
    more than round 1's own scoring (less is noise); a baseline or random scores nothing: all of round 0 is embedding.
    An unfinished run without a round 1 has none: it cannot be told. rounds: as of `results.rounds`.
    """
    later = rounds[rounds["round"] == 1].set_index(KEYS)["seconds_score"]
    first = rounds[rounds["round"] == 0]
    own = first[KEYS].merge(later.reset_index(), on=KEYS, how="left")["seconds_score"].set_axis(first.index)
    nothing = first["strategy"].isin((BASELINE, RANDOM))
    more = first["seconds_score"] - own.where(~nothing, 0.0)
    return more.where(more > own.where(~nothing, 0.0), 0.0).reindex(rounds.index, fill_value=0.0)


def ledger(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the study's whole account, finished runs or not: a row a row of the study and one for all (`row` empty).

    Columns: row, runs, rounds, labels by kind (at each run's last round), seconds by phase and in all, counts, and
    the largest memory; seconds_once: how many of seconds_score are embedding. Embeddings and equal fits are computed
    once and charged to every run that needs them, so the sums are what the runs would cost one by one.
    rounds: as of `results.rounds`.
    """
    rounds = rounds.assign(seconds_once=seconds_once(rounds))
    lines = [_account(str(row), part) for row, part in rounds.groupby("row", sort=False)]
    if len(lines) > 1:
        lines.append(_account("", rounds))
    columns = ["row", "runs", "rounds", *LABELS, "seconds", *SECONDS, "seconds_once", *COUNTS, "peak_memory_mb"]
    return pd.DataFrame(lines, columns=columns)


def _account(row: str, rounds: pd.DataFrame) -> dict[str, Any]:
    runs = rounds.groupby(KEYS, sort=False)
    sums = rounds[[*SECONDS, "seconds_once", *COUNTS]].sum()
    return {
        "row": row, "runs": runs.ngroups, "rounds": len(rounds), **runs[LABELS].last().sum(),
        "seconds": sums[SECONDS].sum(), **sums, "peak_memory_mb": rounds["peak_memory_mb"].max(),
    }  # fmt: skip


def priced(rounds: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """Return the rounds with `price`: what the run has cost up to and with this round.

    Bought labels at their price, and all seconds of the run so far, evaluation aside (a real project has no hidden
    test set to evaluate in every round), at the price of an hour. rounds: as of `results.rounds`.
    """
    spent = rounds[[*WORK, "seconds_zero_shot"]].sum(axis=1)
    hours = spent.groupby([rounds[key] for key in KEYS], sort=False).cumsum() / 3600
    return rounds.assign(price=prices.label * rounds["labels_bought"] + prices.hour * hours)


def price_curves(rounds: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """Return accuracy against price: a row a (row, arm, round): price (mean), n, mean, low, high of accuracy.

    Finished runs only, and the rounds that all seeds reach. rounds: as of `results.rounds`.
    """
    done = priced(rounds[rounds["status"] == "done"], prices)
    seeds = {key: part["seed"].nunique() for key, part in done.groupby(["row", "arm"])}
    found = []
    for (row, arm, number), part in done.groupby(["row", "arm", "round"], sort=False):
        if len(part) == seeds[row, arm]:
            accuracy = t_interval(part["accuracy"])
            price = float(part["price"].mean())
            found.append((row, arm, number, price, accuracy.n, accuracy.mean, accuracy.low, accuracy.high))
    return pd.DataFrame(found, columns=["row", "arm", "round", "price", "n", "mean", "low", "high"])


def overheads(runs: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Return what a cost grows to, as a ratio by seed: a row a comparison and cost of OVERHEADS.

    Columns: row, arm, what (`clustering`: an arm that clusters over the geometric mean of the SIMPLE arms that share
    its other parts; `zero-shot start`: an arm that starts from zero-shot labels over the same arm started otherwise),
    cost, n, ratio, low, high (t interval of log ratios), p (not corrected), mean and against_mean (geometric, of the
    cost itself). `seconds` is training, scoring and selection, without the embedding that is computed once. runs: as of
    `compare.per_run`; rounds: as of `results.rounds`.
    """
    once = rounds.assign(once=seconds_once(rounds)).groupby(KEYS, sort=False)["once"].sum()
    charged = once.reindex(pd.MultiIndex.from_frame(runs[KEYS])).to_numpy()
    runs = runs.assign(seconds_score=runs["seconds_score"] - charged)
    found: list[dict[str, Any]] = []
    for row, part in runs.groupby("row", sort=False):
        arms = part.drop_duplicates("arm").set_index("arm")
        for arm, parts in arms.iterrows():
            for what, names in _plain_arms(arms, parts).items():
                for cost, columns in OVERHEADS.items():
                    found += _ratio(str(row), part, str(arm), what, names, cost, columns)
    return pd.DataFrame(found, columns=["row", "arm", "what", "against", "cost", "n", "ratio", "low", "high", "p",
                                        "mean", "against_mean"])  # fmt: skip


def _plain_arms(arms: pd.DataFrame, parts: pd.Series) -> dict[str, list[str]]:
    """Return what an arm is held against: kind of overhead -> names of arms."""
    found: dict[str, list[str]] = {}
    if parts["strategy"] in CLUSTERING:
        same = arms["strategy"].isin(SIMPLE)
        for part in PARTS[1:]:
            same &= arms[part] == parts[part]
        found["clustering"] = [str(name) for name in arms.index[same]]
    if parts["start"] == "zero-shot" and parts["strategy"] not in (BASELINE, RANDOM):
        same = (arms["strategy"] == parts["strategy"]) & (arms["start"] != "zero-shot")
        for part in ("pool", "weighting", "labeler", "options"):
            same &= arms[part] == parts[part]
        found["zero-shot start"] = [str(name) for name in arms.index[same]][:1]
    return {what: names for what, names in found.items() if names}


def _ratio(
    row: str, runs: pd.DataFrame, arm: str, what: str, names: list[str], cost: str, columns: list[str]
) -> list[dict[str, Any]]:
    total = runs.assign(total=runs[columns].sum(axis=1)).pivot(index="seed", columns="arm", values="total")
    both = total[[arm, *names]].dropna()
    if not (both > 0).all(axis=None) or both.empty:
        return []
    log = np.log(both)
    plain = log[names].mean(axis=1)
    estimate, p = paired_t(log[arm] - plain)
    values = {key: math.exp(getattr(estimate, key)) for key in ("low", "high")}
    return [{"row": row, "arm": arm, "what": what, "against": ", ".join(names), "cost": cost, "n": estimate.n,
             "ratio": math.exp(estimate.mean), **values, "p": p,
             "mean": math.exp(log[arm].mean()), "against_mean": math.exp(plain.mean())}]  # fmt: skip


def fits_with_problems(rounds: pd.DataFrame) -> list[str]:
    """Return a line a problem that fits had: what it was, how often, and in which rows and arms."""
    found = rounds[rounds["problem"] != ""]
    lines = []
    for problem, part in found.groupby("problem", sort=True):
        where = [f"{one['row']} {one['arm']}" for one in dicts(part[["row", "arm"]].drop_duplicates())]
        more = f" and {len(where) - 6} more" if len(where) > 6 else ""
        lines.append(f"{problem}: {len(part):,} of {len(rounds):,} fits (rows and arms: {', '.join(where[:6])}{more})")
    return lines

"""Starts from a zero-shot model's labels: what they change, how wrong they are, and how well the model knows it.

Pure functions of the records. The three starts of one strategy are told apart by the fields `start` of the runs:
`zero-shot` (the model's labels), `zero-shot-true` (the same images, true labels), and the study's usual start.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from labelwise.analysis.results import KEYS, dicts
from labelwise.analysis.statistics import holm, paired_t, t_interval
from labelwise.analysis.words import change, interval
from labelwise.parts import ZERO_SHOT_STARTS
from labelwise.strategies import BASELINE

PSEUDO, TRUE = ZERO_SHOT_STARTS
SAME = ["strategy", "pool", "weighting", "labeler"]
"""What arms of different starts share."""
EFFECTS = ("both", "images", "errors")
"""What differs in a comparison: `both` is the model's start against the usual one, `images` is its images with true

labels against the usual start, `errors` is the model's labels against true ones on the same images.
"""
COMPARED = ("accuracy", "area", "loss", "seconds_train", "epochs", "images_backward")
BINS = 10


def starts(runs: pd.DataFrame) -> pd.DataFrame:
    """Return paired (same seed) comparisons of starts: a row a (row, strategy and other parts, effect, column).

    Columns: row, arm and reference (names), strategy, effect (one of EFFECTS), column (one of COMPARED), n_pairs, mean,
    reference_mean, difference, low, high, p, p_holm (Holm over the row's comparisons of a column). runs: as of
    `compare.per_run`.
    """
    rows = [
        {**pair, "column": column, **_paired(runs, pair, column)}
        for column in COMPARED
        for pair in _pairs(runs)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["row", "strategy", "effect", "arm", "reference", "column", "n_pairs", "mean",
                                        "reference_mean", "difference", "low", "high", "p"])  # fmt: skip
    return frame.assign(p_holm=frame.groupby(["row", "column"])["p"].transform(holm) if len(frame) else [])


def _pairs(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Return which arms are compared: those of one row that share all parts but the start."""
    arms = runs.drop_duplicates(["row", "arm"])
    found = []
    for (row, *_), part in arms.groupby(["row", *SAME], sort=False):
        names = dict(zip(part["start"], part["arm"], strict=True))
        usual = next((start for start in names if start not in ZERO_SHOT_STARTS), None)
        for effect, start, other in (("both", PSEUDO, usual), ("images", TRUE, usual), ("errors", PSEUDO, TRUE)):
            if start in names and other in names:
                pair = {"arm": names[start], "reference": names[other], "strategy": part["strategy"].iloc[0]}
                found.append({"row": str(row), "effect": effect, **pair})
    return found


def _paired(runs: pd.DataFrame, pair: dict[str, str], column: str) -> dict[str, Any]:
    own = runs[runs["row"] == pair["row"]].pivot(index="seed", columns="arm", values=column)
    both = own[[pair["arm"], pair["reference"]]].dropna()
    estimate, p = paired_t(both[pair["arm"]] - both[pair["reference"]])
    return {
        "n_pairs": estimate.n, "mean": both[pair["arm"]].mean(), "reference_mean": both[pair["reference"]].mean(),
        "difference": estimate.mean, "low": estimate.low, "high": estimate.high, "p": p,
    }  # fmt: skip


def initial_labels(wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the pseudo labels of each row's start: a row a row of the study, over its seeds.

    Columns: row, n seeds, labels_pseudo, wrong, share, low, high (95 % over seeds). wrong: as of `labels.wrong`. Every
    arm with this start has the same ones, so they are counted once a seed.
    """
    first = wrong[(wrong["labels_pseudo"] > 0) & (wrong["round"] == 0)].drop_duplicates(["row", "seed"])
    rows = []
    for row, part in first.groupby("row", sort=False):
        found = t_interval(part["share"])
        rows.append(
            (row, found.n, part["labels_pseudo"].mean(), part["wrong"].mean(), found.mean, found.low, found.high)
        )
    return pd.DataFrame(rows, columns=["row", "n", "labels_pseudo", "wrong", "share", "low", "high"])


def reliability(details: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return confidence against accuracy: a row a (row, predicted class, bin of confidence), summed over the seeds.

    Columns: row, class, bin (0 to 9), images, confidence and accuracy (means). details: as of `results.details`; each
    row and seed is counted once, whatever number of arms starts with it.
    """
    audits = details[[("zero_shot" in found) for found in details["details"]]].drop_duplicates(["row", "seed"])
    cells = [
        (row, classes[k], number, images, confidence, correct)
        for row, found in zip(audits["row"], audits["details"], strict=True)
        for k, number, images, confidence, correct in found["zero_shot"]["bins"]
    ]
    return _binned(cells)


def reliability_on_test(card: dict[str, Any], classes: list[str]) -> pd.DataFrame:
    """Return the same for the test set, of the row `test set`; empty where the model does not answer for it."""
    bins = card.get("bins", [])
    return _binned([("test set", classes[k], number, images, sums, right) for k, number, images, sums, right in bins])


def _binned(cells: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(cells, columns=["row", "class", "bin", "images", "confidence", "accuracy"])
    summed = frame.groupby(["row", "class", "bin"], sort=False)[["images", "confidence", "accuracy"]].sum()
    for name in ("confidence", "accuracy"):
        summed[name] = summed[name] / summed["images"]
    return summed.reset_index()


def by_class(reliability_: pd.DataFrame) -> pd.DataFrame:
    """Return each predicted class's images, mean confidence and accuracy: a row a (row, class), and one for `all`."""
    rows = []
    for row, part in reliability_.groupby("row", sort=False):
        for name, own in [("all", part), *part.groupby("class", sort=False)]:
            images = own["images"].sum()
            means = [float((own[column] * own["images"]).sum() / images) for column in ("confidence", "accuracy")]
            rows.append((row, name, int(images), *means))
    return pd.DataFrame(rows, columns=["row", "class", "images", "confidence", "accuracy"])


def along_bought(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy against labels bought, the second axis: a row a (row, arm, round), mean and interval over seeds.

    rounds: as of `results.rounds`; runs that are not finished, and rounds that not all seeds reach, are left out.
    """
    done = rounds[rounds["status"] == "done"]
    seeds = done.groupby(["row", "arm"])["seed"].nunique().to_dict()
    rows = []
    for (row, arm, number), part in done.groupby(["row", "arm", "round"], sort=False):
        if len(part) == seeds[row, arm]:
            found = t_interval(part["accuracy"])
            rows.append((row, arm, number, part["labels_bought"].mean(), found.n, found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["row", "arm", "round", "labels", "n", "mean", "low", "high"])


def seconds(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the model's seconds beside the training's: a row a (row, arm) with such a start, means over the seeds."""
    own = rounds["start"].isin(ZERO_SHOT_STARTS) & (rounds["strategy"] != BASELINE)  # the baseline asks no model
    done = rounds[(rounds["status"] == "done") & own]
    runs = done.groupby([*KEYS], sort=False)[["seconds_zero_shot", "seconds_train"]].sum().reset_index()
    return runs.groupby(["row", "arm"], sort=False)[["seconds_zero_shot", "seconds_train"]].mean().reset_index()


def said(found: pd.DataFrame, row: str) -> list[str]:
    """Say in words what the starts change in accuracy at N in one row: a line an effect. found: as of `starts`."""
    heads = {
        "both": "its labels and images against the usual start", "images": "its images alone (with true labels)",
        "errors": "its errors alone (the same images, its labels against true ones)",
    }  # fmt: skip
    lines = []
    own = found[(found["row"] == row) & (found["column"] == "accuracy")]
    for effect, head in heads.items():
        parts = [_line(c) for c in dicts(own[own["effect"] == effect])]
        if parts:
            lines.append(f"At N, {head}: {'; '.join(parts)}.")
    return lines


def _line(c: dict[str, Any]) -> str:
    call = "" if math.isnan(c["p_holm"]) else ", shown" if c["p_holm"] < 0.05 else ", not shown"
    between = interval(c["low"], c["high"], "accuracy")
    return f"{c['strategy']} {change(c['difference'], 'accuracy')} points{between}{call}"

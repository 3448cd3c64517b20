"""Labels required to match the baseline: by the published study's rule, and by an estimate that luck does not favour.

- `oracle stopping`: the first round whose test accuracy is higher and whose test loss is lower than the baseline's of
  the same row, seed and weighting. It reads the test set to stop, and the luckiest of many rounds wins.
- `accuracy`, `loss`: the target is the baseline's on one half of the test set, the crossing that of the run's isotonic
  curve on the other half, linear between rounds; then the other way round. The geometric mean of the two counts. One
  half may be the easier one, so both are taken relative to the run's own mean over its rounds on that half.

A run that does not get there is censored at its last labels: what it needs is known to be more. Never dropped. One
that matches on one half alone is censored at the geometric mean of that count and its last labels. A run that ends with
the baseline's own labels (it picks inside the row's subset) needs N at most, whatever its noise says.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from labelwise.analysis.censored import censored_mean
from labelwise.analysis.compare import PARTS, RANDOM, SHARED_PARTS, reference_arm
from labelwise.analysis.halves import COLUMNS
from labelwise.analysis.results import KEYS, dicts
from labelwise.analysis.statistics import LEVEL, Estimate, holm
from labelwise.strategies import BASELINE

ORACLE = "oracle stopping"
RULES = (ORACLE, "accuracy", "loss")
NEEDED = ("row", "arm", "rule", "n", "reached", "half", "within", "budget", "labels", "reduction", "low", "high", "p",
          "p_holm", "call", "control", "control_n", "control_ratio", "control_low", "control_high", "control_p",
          "control_p_holm", "control_call")  # fmt: skip


def crossing(labels: ArrayLike, values: ArrayLike, target: float) -> tuple[float, bool]:
    """Return the labels at which the isotonic curve of (R,) values reaches the target, and whether it does.

    The curve rises; linear between rounds. A curve that starts at the target gives its first labels, one that never
    reaches it gives its last labels and False.
    """
    x = np.asarray(labels, dtype=np.float64)
    curve = np.asarray(isotonic_regression(np.asarray(values, dtype=np.float64)))
    reached = np.flatnonzero(curve >= target)
    if not len(reached):
        return float(x[-1]), False
    i = int(reached[0])
    if i == 0:
        return float(x[0]), True
    share = (target - curve[i - 1]) / (curve[i] - curve[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1])), True


def first_better(rounds: pd.DataFrame, accuracy: float, loss: float) -> tuple[float, bool]:
    """Return the labels of the first round that beats both, and whether there is one; else the last labels."""
    better = np.flatnonzero((rounds["accuracy"] > accuracy) & (rounds["loss"] < loss))
    return float(rounds["labels"].iloc[better[0] if len(better) else -1]), bool(len(better))


def matches(rounds: pd.DataFrame, whole: bool = True) -> pd.DataFrame:
    """Return a row a finished run and rule: row, arm, seed, rule, PARTS, reference, budget, labels, reached, within.

    labels: needed to match the reference, the baseline of the same row, seed and weighting; where `reached` is false,
    more than that. within: the run ends with the reference's own labels, so that it needs N at most (never so by oracle
    stopping, which asks for more than the reference has). Runs without a finished baseline are left out.
    rounds: as of `halves.rounds_with_halves`; whole: runs go on to N, else a curve is cut and has no honest estimate.
    """
    done = rounds[rounds["status"] == "done"]
    found: list[dict[str, Any]] = []
    for _, group in done.groupby(["row", "seed"], sort=False):
        runs = {str(arm): run.sort_values("round") for arm, run in group.groupby("arm", sort=False)}
        arms = pd.DataFrame([run[PARTS].iloc[0] for run in runs.values()], index=list(runs))
        for arm, run in runs.items():
            reference = None if arms.loc[arm, "strategy"] == BASELINE else reference_arm(arms, arm, BASELINE)
            if reference is not None:
                one = {**dicts(run[[*KEYS, *PARTS, "budget"]].head(1))[0], "reference": reference}
                found += [{**one, **rule} for rule in _by_rule(run, runs[reference].iloc[-1], whole)]
    return pd.DataFrame(found, columns=[*KEYS, *PARTS, "budget", "reference", "rule", "labels", "reached", "within"])


def _by_rule(run: pd.DataFrame, baseline: pd.Series, whole: bool) -> list[dict[str, Any]]:
    labels, reached = first_better(run, baseline["accuracy"], baseline["loss"])
    found = [{"rule": ORACLE, "labels": labels, "reached": reached, "within": False}]
    if whole and run[[*COLUMNS]].notna().all(axis=None):
        within = run["fit_key"].iloc[-1] == baseline["fit_key"]
        for metric, sign in (("accuracy", 1.0), ("loss", -1.0)):
            ways = [
                _across(run, baseline, f"{metric}_{here}", f"{metric}_{there}", sign)
                for here, there in (("half1", "half2"), ("half2", "half1"))
            ]
            middle = math.sqrt(ways[0][0] * ways[1][0])
            found.append({"rule": metric, "labels": middle, "reached": ways[0][1] and ways[1][1], "within": within})
    return found


def _across(run: pd.DataFrame, baseline: pd.Series, here: str, there: str, sign: float) -> tuple[float, bool]:
    """Return the crossing on one half (`there`) of the target of the other (`here`)."""
    target = sign * (float(baseline[here]) - float(run[here].mean()))
    return crossing(run["labels"], sign * (run[there] - run[there].mean()), target)


def needed(found: pd.DataFrame) -> pd.DataFrame:
    """Return labels needed to match the baseline over the seeds: a row a (row, arm, rule), columns NEEDED.

    labels, reduction (1 - labels / N), low, high: from the mean of log(labels / N) over the seeds with censoring
    (`censored_mean`), back on the scale of labels; low and high bound the reduction, low is -inf where nothing bounds
    it; where every run is `within`, none is beyond N. reached: seeds that match; half: those that do on one half of the
    test set alone. p, p_holm: of no reduction, corrected over the row's strategies with the same start, pool, weighting
    and labeler. control: the random arm of these, and the ratio of labels to its, by seed, with its interval and p;
    control_call: fewer, more, no difference shown, no verdict. labels and ratio are NaN where bounds alone are known.
    found: as of `matches`.
    """
    rows = []
    for (_, _), family in found.groupby(["row", "rule"], sort=False):
        arms = family.drop_duplicates("arm").set_index("arm")
        for _, group in arms.groupby(SHARED_PARTS[RANDOM], sort=False):
            rows += _called([_needed(family, arms, str(arm)) for arm in group.index])
    return pd.DataFrame(rows, columns=[*NEEDED])


def _called(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the corrected p-values and the calls of the arms that are corrected together."""
    for key in ("p", "control_p"):
        for one, p in zip(group, holm([one[key] for one in group]).tolist(), strict=True):
            one[f"{key}_holm"] = p
    for one in group:
        # where bounds alone are known, the finite end of the interval has the sign
        one["call"] = _call(one["high"] if math.isnan(one["reduction"]) else one["reduction"], one["p_holm"])
        ratio = one["control_low"] if math.isnan(one["control_ratio"]) else one["control_ratio"]
        one["control_call"] = _call(1 - ratio, one["control_p_holm"]) if one["control"] else ""
    calls = {one["arm"]: one["call"] for one in group}
    for one in group:
        # two arms that need N at most differ only where one is shown to need fewer: near a flat end noise alone crosses
        saver = {"fewer": one["arm"], "more": one["control"]}.get(one["control_call"], "")
        if one["within"] and saver and calls[saver] != "fewer":
            one["control_call"] = "no difference shown"
    return group


def _needed(family: pd.DataFrame, arms: pd.DataFrame, arm: str) -> dict[str, Any]:
    own = family[family["arm"] == arm].set_index("seed")
    estimate, p = censored_mean(*_bounds(own, capped=False))
    within = bool(own["within"].all())
    if within:
        estimate, p = _at_most(estimate), p if estimate.mean < 0 or estimate.n < 2 else 1.0
    below = own["labels"] < own["budget"] * (1 - 1e-9)
    budget = float(np.exp(np.log(own["budget"]).mean()))
    control = None if arms.loc[arm, "strategy"] == RANDOM else reference_arm(arms, arm, RANDOM)
    return {
        **{key: own[key].iloc[0] for key in ("row", "rule")}, "arm": arm, "n": len(own),
        "reached": int(own["reached"].sum()), "half": int((~own["reached"] & below).sum()), "within": within,
        "budget": budget, "labels": budget * math.exp(estimate.mean),
        "reduction": -math.expm1(estimate.mean), "low": _reduction(estimate.high),
        "high": _reduction(estimate.low), "p": p, **_against_control(family, own, control),
    }  # fmt: skip


def _at_most(estimate: Estimate) -> Estimate:
    """Keep an estimate of log(labels / N), and its interval, to what is possible: N at most."""
    mean = 0.0 if math.isnan(estimate.mean) else min(estimate.mean, 0.0)
    return Estimate(estimate.n, mean, min(estimate.low, 0.0), min(estimate.high, 0.0))


def _against_control(family: pd.DataFrame, own: pd.DataFrame, control: str | None) -> dict[str, Any]:
    """Return the ratio of an arm's labels to its control's, over the seeds that both have."""
    none = {"control": "", "control_n": 0, **dict.fromkeys(
        ("control_ratio", "control_low", "control_high", "control_p"), math.nan)}  # fmt: skip
    if control is None:
        return none
    other = family[family["arm"] == control].set_index("seed")
    seeds = [seed for seed in own.index if seed in other.index]
    if not seeds:
        return none
    (low, high), (other_low, other_high) = (_bounds(runs.loc[seeds], capped=True) for runs in (own, other))
    estimate, p = censored_mean(low - other_high, high - other_low)
    return {
        "control": control, "control_n": estimate.n, "control_ratio": math.exp(estimate.mean),
        "control_low": _exp(estimate.low), "control_high": _exp(estimate.high), "control_p": p,
    }  # fmt: skip


def _bounds(runs: pd.DataFrame, capped: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (n,) logarithms of labels / N, as bounds: equal where reached, else open above.

    capped: a run that is `within` needs N where its noise says more. Two arms that are cut alike can be compared so; an
    arm's own mean could not, for then all noise would count as saving.
    """
    log = np.log(runs["labels"].to_numpy(dtype=float) / runs["budget"].to_numpy(dtype=float))
    known = runs["reached"] | (runs["within"] & capped)
    return log, np.where(known.to_numpy(dtype=bool), log, np.inf)


def _exp(value: float) -> float:
    return math.inf if value > 100 else math.exp(value)


def _reduction(log_ratio: float) -> float:
    return 1 - _exp(log_ratio)


def _call(reduction: float, p_holm: float) -> str:
    if math.isnan(p_holm):
        return "no verdict"
    if p_holm >= 1 - LEVEL:
        return "no difference shown"
    return "fewer" if reduction > 0 else "more"

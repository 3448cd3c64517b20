"""The published study's claims beside a study that can be held against them: same, different, or why neither."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from labelwise.analysis.censored import censored_mean
from labelwise.analysis.matching import ORACLE
from labelwise.analysis.results import dicts
from labelwise.analysis.statistics import Estimate, t_interval
from labelwise.analysis.words import change, interval, number, percent
from labelwise.report.content import Content
from labelwise.report.tables import Cell, Table
from labelwise.strategies import BASELINE

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STRATEGIES = ("uncertainty", "margin", "entropy_typicality")
"""The three that the published study compares; it calls the third TypiClust."""
REDUCTIONS = {
    "50%/1%": (0.64, "64 % fewer: about 7,500 of 20,100"),
    "10%/1%": (0.39, "39 % fewer: about 2,500 of 4,100"),
    "3%/1%": (0.20, "20 % fewer: about 1,000 of 1,300"),
}
SAME, DIFFERENT, OPEN, NOT_RUN = "same", "different", "open", "not run"
KINDS = {SAME: "same", DIFFERENT: "worse", OPEN: "open", NOT_RUN: "open"}
RULE = (
    "A figure is called the same where it lies within our 95 % interval, its last digit's rounding allowed, else "
    "different. Open: these records cannot tell, for example because the interval is so wide that no effect at all "
    "would agree too. The published study gives no intervals, so its own chance is not counted."
)
OTHER = "not comparable to the published figures (EfficientNet-B0, fine-tuned on CIFAR-10)"


def comparability(content: Content) -> str:
    """Return why a study cannot be held against the published figures, or nothing if it can."""
    learner = content.study.learner
    if learner.kind == "probe":
        return f"The learner here is a linear probe on frozen embeddings: another learner, {OTHER}."
    if learner.kind != "finetune" or not learner.backbone.startswith("efficientnet"):
        return f"The learner here is another one, {OTHER}."
    if content.data["classes"] != CIFAR10 or content.data["pool"] != 50_000:
        return f"The data here are others, {OTHER}."
    return ""


def relation(content: Content) -> str:
    """Say how near the learner is to the published one."""
    learner = content.study.learner
    if (learner.backbone, learner.weights) == ("efficientnet_b0", "hub"):
        return "The learner is the published one: EfficientNet-B0 with ImageNet weights from the hub, fine-tuned."
    return (
        f"The learner here, {learner.backbone} with weights: {learner.weights}, is a close relative of the "
        "published one (EfficientNet-B0 with ImageNet weights), not the same: a difference can come from that."
    )


def beside(content: Content) -> Table:
    """Return the published claims on accuracy, time, imbalance and weights, what these records say, and the verdict."""
    rows = [
        [Cell(claim), Cell(published), Cell(here), Cell(call, kind=KINDS[call])]
        for claim, published, here, call in _claims(content)
    ]
    return Table(["claim", "published", "here", "verdict"], rows, 4)


def _claims(content: Content) -> Iterator[tuple[str, str, str, str]]:
    three = _mean_of_three(content, "10%")
    yield "active learning at 10 % of the labels, balanced", "about 73 %", *_held(three, 0.73, 0.005, 0.671)
    own = content.runs[(content.runs["row"] == "10%") & (content.runs["arm"] == BASELINE)]
    yield "the stratified baseline there", "67.1 %", *_held(t_interval(own["accuracy"].dropna()), 0.671, 0.0005, 0.73)
    yield (
        "rows with an advantage over the baseline",
        "every balanced row down to 3 %; none at 1 %",
        *_advantage(content),
    )
    yield "the three strategies", "similar", *_similar(content)
    yield "time of TypiClust as the study defines it", "1.5 times that of the others", *_time(content)
    pools = list(dict.fromkeys(arm.pool for arm in content.study.arms if arm.strategy in STRATEGIES))
    for row, (value, published) in REDUCTIONS.items():
        for pool in pools:
            claim = f"labels to match the baseline at {row} (oracle stopping, {pool} pool)"
            yield claim, published, *_reduction(content, row, str(pool), value)
    yield "class weights", "slightly worse in most cases", *_weights(content)


A_POINT = 0.01


def _call(low: float, high: float, value: float, rounding: float, other: float) -> str:
    """Return whether an interval agrees with a published value; open where it would agree with the `other` as well."""
    if math.isnan(low):
        return OPEN
    if not low - rounding <= value <= high + rounding:
        return DIFFERENT
    return OPEN if low <= other <= high else SAME


def _held(found: Estimate, value: float, rounding: float, other: float) -> tuple[str, str]:
    """Return our accuracy in words and whether the published one is the same. other: as of `_call`."""
    if not found.n:
        return "not run", NOT_RUN
    said = f"{number(found.mean, 'accuracy')} %{interval(found.low, found.high, 'accuracy')}"
    return said, _call(found.low, found.high, value, rounding, other)


def _plain(content: Content, pool: str | None = None) -> dict[str, str]:
    """Return the arms of the three strategies without class weights or options: strategy -> arm's name."""
    study = content.study
    return {
        arm.strategy: study.arm_name(arm) for arm in reversed(study.arms)
        if arm.strategy in STRATEGIES and arm.weighting == "none" and not arm.options and pool in (None, arm.pool)
    }  # fmt: skip


def _mean_of_three(content: Content, row: str) -> Estimate:
    """Return the mean accuracy at N of the three strategies, over the seeds that have all of them that are run."""
    names = list(_plain(content).values())
    own = content.runs[(content.runs["row"] == row) & content.runs["arm"].isin(names)]
    return t_interval(own.pivot(index="seed", columns="arm", values="accuracy").dropna().mean(axis=1))


def _balanced(content: Content) -> list[str]:
    return [row.name for row in content.study.sizes if row.minority_share is None]


def _advantage(content: Content) -> tuple[str, str]:
    compared = content.compared["accuracy"]
    own = compared[(compared["against"] == BASELINE) & compared["arm"].isin(_plain(content).values())
                   & compared["row"].isin(_balanced(content))]  # fmt: skip
    if own.empty:
        return "not run", NOT_RUN
    higher = {str(row): list(part["arm"][part["call"] == "higher"]) for row, part in own.groupby("row", sort=False)}
    said = "; ".join(f"{row}: {', '.join(arms) or 'none shown'}" for row, arms in higher.items())
    verdicts = {_row_advantage(str(row), part) for row, part in own.groupby("row", sort=False)}
    if DIFFERENT in verdicts:
        return said, DIFFERENT
    return said, OPEN if OPEN in verdicts or set(higher) == {"1%"} else SAME


def _row_advantage(row: str, part: pd.DataFrame) -> str:
    """Return whether a row agrees: that no advantage is shown contradicts one only where none of a point is left."""
    shown = bool((part["call"] == "higher").any())
    if row == "1%":
        return DIFFERENT if shown else OPEN if (part["call"] == "no verdict").any() else SAME
    if shown:
        return SAME
    return DIFFERENT if (part["high"] < A_POINT).all() else OPEN


def _similar(content: Content) -> tuple[str, str]:
    names = _plain(content).values()
    own = content.between[content.between["arm"].isin(names) & content.between["reference"].isin(names)]
    own = own[own["row"].isin(_balanced(content))]
    if own.empty:
        return "not run", NOT_RUN
    shown, near = int(own["call"].isin(("higher", "lower")).sum()), int(own["within_point"].sum())
    said = f"{len(own)} pairs on balanced rows: a difference shown in {shown}, within one point in {near}"
    return said, DIFFERENT if shown else SAME if near == len(own) else OPEN


def _time(content: Content) -> tuple[str, str]:
    found = content.overheads
    own = found[(found["what"] == "clustering") & (found["cost"] == "seconds")]
    rows = dicts(own[own["arm"] == _plain(content).get(STRATEGIES[2], "")])
    if not rows:
        return "not run", NOT_RUN
    said = "; ".join(
        f"{one['row']}: {one['ratio']:.2f}"
        + ("" if math.isnan(one["low"]) else f" [{one['low']:.2f}, {one['high']:.2f}]")
        for one in rows
    )
    calls = {_call(one["low"], one["high"], 1.5, 0.05, 1.0) for one in rows}
    call = calls.pop() if len(calls) == 1 else OPEN
    return f"{said} times (training, scoring and selection)", call


def _reduction(content: Content, row: str, pool: str, value: float) -> tuple[str, str]:
    """Hold the mean reduction of the three strategies, by oracle stopping, against the published one."""
    names = _plain(content, pool).values()
    own = content.matches
    own = own[(own["rule"] == ORACLE) & (own["row"] == row) & own["arm"].isin(names)]
    if own.empty:
        return "not run", NOT_RUN
    logs = own.assign(log=np.log(own["labels"] / own["budget"])).groupby("seed")
    mean, all_reached = logs["log"].mean(), logs["reached"].all()
    found, _ = censored_mean(mean, mean.where(all_reached, math.inf))
    reached = f"{int(own['reached'].sum())} of {len(own)} runs match"
    if math.isnan(found.mean):
        return reached, OPEN
    low, high = 1 - math.exp(min(found.high, 50)), 1 - math.exp(found.low)
    if math.isnan(low):
        return f"{percent(-math.expm1(found.mean))} % fewer; {reached}", OPEN
    between = f"[{percent(low) if low > -1 else 'open'}, {percent(high)}]"
    said = f"{percent(-math.expm1(found.mean))} % fewer {between}; {reached}"
    return said, _call(low, high, value, 0.005, 0.0)


def _weights(content: Content) -> tuple[str, str]:
    """Hold the mean effect of class weights, over what was run with and without, against `slightly worse`."""
    own = content.changes[(content.changes["against"] == "weighting") & (content.changes["strategy"] != BASELINE)]
    if own.empty:
        return "not run", NOT_RUN
    shown: pd.Series = own["call"].value_counts()
    found = t_interval(pd.concat([_effect(content, one) for one in dicts(own)], axis=1).dropna().mean(axis=1))
    said = (
        f"accuracy {change(found.mean, 'accuracy')} points{interval(found.low, found.high, 'accuracy')} in the mean of "
        f"{len(own)} rows and strategies, lower in {int((own['difference'] < 0).sum())}; shown lower in "
        f"{shown.get('lower', 0)}, higher in {shown.get('higher', 0)}"
    )
    return said, DIFFERENT if found.low > 0 else SAME if found.high < 0 else OPEN


def _effect(content: Content, one: dict[str, Any]) -> pd.Series:
    """Return the paired differences of two arms' accuracy, by seed."""
    values = content.runs[content.runs["row"] == one["row"]].pivot(index="seed", columns="arm", values="accuracy")
    difference: pd.Series = values[one["arm"]] - values[one["reference"]]
    return difference

"""Which arms share a figure: those with the same pool and class weighting, and the baseline of that weighting."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from labelwise.config import Arm, Study
from labelwise.strategies import BASELINE


@dataclass(frozen=True)
class Group:
    """Arms that share figures.

    slug: for files' names, empty for the only group; said: in words; labels: arm -> its name here, without pool and
    weighting.
    """

    slug: str
    said: str
    labels: dict[str, str]

    def own(self, frame: pd.DataFrame, row: str, columns: tuple[str, ...] = ("arm",)) -> pd.DataFrame:
        """Return a frame's lines of one row of the study and this group's arms, named as in the group."""
        part = frame[frame["row"] == row]
        for column in columns:
            part = part[part[column].isin(self.labels)]
        return part.assign(**{column: part[column].map(self.labels) for column in columns})


def groups(study: Study) -> list[Group]:
    """Return a study's groups, in the order of its arms; every arm is in at least one."""
    keys = list(dict.fromkeys((arm.pool, arm.weighting) for arm in study.arms if arm.strategy != BASELINE))
    if not keys:
        return [Group("", "", {study.arm_name(arm): study.arm_name(arm) for arm in study.arms})]
    pools, weightings = ({key[i] for key in keys} for i in (0, 1))
    found = []
    for pool, weighting in keys:
        words = [f"{pool} pool"] if len(pools) > 1 else []
        words += ["class weights" if weighting == "inverse" else "no class weights"] if len(weightings) > 1 else []
        labels = {
            study.arm_name(arm): _label(study, arm) for arm in study.arms
            if arm.weighting == weighting and (arm.strategy == BASELINE or arm.pool == pool)
        }  # fmt: skip
        found.append(Group(f"{pool}-{weighting}" if len(keys) > 1 else "", ", ".join(words), labels))
    left = {study.arm_name(arm): study.arm_name(arm) for arm in study.arms
            if not any(study.arm_name(arm) in group.labels for group in found)}  # fmt: skip
    return [*found, Group("others", "other arms", left)] if left else found


def _label(study: Study, arm: Arm) -> str:
    return study.arm_name(arm.model_copy(update={"pool": study.pool, "weighting": study.weighting}))

"""The plan of a study: its runs, each with its budget and rounds, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelwise.arrays import Indices
from labelwise.config import Arm, Row, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.subsets import Subset, draw_subset, stratified
from labelwise.errors import InputError
from labelwise.models.learners import check_learner
from labelwise.seeds import generator
from labelwise.strategies import BASELINE, check_options

PROTOCOL = "1"
"""Part of a run's identity: to be changed with any draw or definition that changes what is recorded."""


@dataclass(frozen=True)
class Run:
    """One run: an arm on a row with a seed. labels: the labelled set's size in each round, the last is the budget.

    target: with `stop: at_baseline`, the baseline's test accuracy and loss, once they are recorded.
    """

    row: Row
    arm: Arm
    name: str
    seed: int
    labels: tuple[int, ...]
    target: tuple[float, float] | None = None

    @property
    def budget(self) -> int:
        """N, the row's label budget."""
        return self.labels[-1]

    @property
    def batch(self) -> int:
        """Labels bought a round."""
        return self.labels[1] - self.labels[0] if len(self.labels) > 1 else 0


def check_study(study: Study) -> None:
    """Check what needs no data: strategies, their options, the learner. Errors: InputError."""
    for position, arm in enumerate(study.arms):
        if arm.strategy == BASELINE:
            parts = arm.options or arm.start != study.start or arm.pool != study.pool
            problem = f"the {BASELINE} baseline has no options, start or pool of its own" if parts else None
        else:
            problem = check_options(arm.strategy, arm.options)
        if problem:
            raise InputError(f"arms.{position}: {problem}")
    if study.stop == "at_baseline":
        baselines = {arm.weighting for arm in study.arms if arm.strategy == BASELINE}
        for position, arm in enumerate(study.arms):
            if arm.weighting not in baselines:
                raise InputError(
                    f"arms.{position}: stop: at_baseline needs the baseline with weighting: {arm.weighting}; add "
                    f"{{strategy: {BASELINE}, weighting: {arm.weighting}}} to the arms"
                )
    check_learner(study)


def schedule(budget: int, study: Study) -> tuple[int, ...]:
    """Return the labelled set's size in each round: the initial set, then a batch a round until the budget.

    N = 1,500 with the study's defaults: 150, then 18 rounds of 75. Errors: InputError when nothing is left to buy.
    """
    initial = max(study.initial.minimum, round(study.initial.share * budget))
    if initial >= budget:
        raise InputError(
            f"sizes: a budget of {budget:,} labels leaves nothing to buy after the initial {initial:,}; "
            "choose a larger row, or lower the initial set with --set initial.minimum="
            f"{max(1, round(study.initial.share * budget))}"
        )
    batch = max(1, round(study.acquisition * budget))
    return (*range(initial, budget, batch), budget)


def plan_runs(study: Study, dataset: Dataset) -> list[Run]:
    """Return the study's runs, grouped by row and seed, so that arms can share what is equal. Errors: InputError."""
    runs = []
    for row in study.sizes:
        for seed in study.seeds:
            budget = draw_subset(dataset, study, row, seed).budget
            for arm in study.arms:
                labels = (budget,) if arm.strategy == BASELINE else schedule(budget, study)
                runs.append(Run(row, arm, study.arm_name(arm), seed, labels))
    return runs


def run_id(run: Run, study: Study, learner_key: str) -> str:
    """Return what stands for all that a run's records depend on; other arms, rows and seeds of the study do not."""
    return digest(
        PROTOCOL, learner_key, canonical(run.row), canonical(run.arm), str(run.seed), str(run.labels),
        str(study.minority), canonical(study.initial), str(study.acquisition), study.start,
        *([study.stop] if study.stop != "budget" else []),
    )  # fmt: skip


def initial_set(dataset: Dataset, study: Study, subset: Subset, run: Run) -> Indices:
    """Draw a run's initial labelled set: sorted dataset indices, the same for every arm with the same start and pool.

    The baseline arm starts, and ends, with the whole subset.
    """
    if run.arm.strategy == BASELINE:
        return subset.indices
    return _draw_start(dataset, subset, run, str(run.arm.start), schedule(subset.budget, study)[0])


def tuning_set(dataset: Dataset, study: Study, subset: Subset, run: Run) -> Indices:
    """Return the initial set on which the run's learner is tuned; the baseline takes that of the study's own start."""
    if run.arm.strategy != BASELINE:
        return initial_set(dataset, study, subset, run)
    size = max(study.initial.minimum, round(study.initial.share * subset.budget))
    return _draw_start(dataset, subset, run, study.start, min(size, subset.budget))


def _draw_start(dataset: Dataset, subset: Subset, run: Run, start: str, size: int) -> Indices:
    """Draw `stratified` by the subset's own class shares (reads hidden labels), or `random` from the arm's pool."""
    rng = generator(run.seed, "initial", start, run.row.name, str(run.arm.pool) if start == "random" else "")
    if start == "random":
        return np.sort(rng.choice(arm_pool(dataset, subset, run.arm), size, replace=False))
    return subset.indices[stratified(dataset.labels[subset.indices], size, rng)]


def arm_pool(dataset: Dataset, subset: Subset, arm: Arm) -> Indices:
    """Return the dataset indices that an arm may pick: the whole pool, or only the row's subset."""
    return subset.indices if arm.pool == "subset" else dataset.pool

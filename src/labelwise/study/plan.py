"""The plan of a study: its runs, each with its budget and rounds, before anything is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labelwise.arrays import Floats, Indices
from labelwise.config import Arm, Row, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.subsets import Subset, draw_subset, stratified
from labelwise.errors import InputError
from labelwise.labelers.table import check_labeler
from labelwise.models.learners import check_learner
from labelwise.parts import ZERO_SHOT_STARTS, Labeling
from labelwise.seeds import generator
from labelwise.strategies import BASELINE, check_options, run_strategy
from labelwise.zero_shot import Guesses, check_zero_shot
from labelwise.zero_shot.start import most_confident

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
    """Check what needs no data: strategies, their options, labelers, the learner. Errors: InputError."""
    for position, arm in enumerate(study.arms):
        if arm.strategy == BASELINE:
            parts = arm.options or arm.start != study.start or arm.pool != study.pool
            problem = f"the {BASELINE} baseline has no options, start or pool of its own" if parts else None
        else:
            problem = check_options(arm.strategy, arm.options)
        if problem := problem or _check_answers(study, arm):
            raise InputError(f"arms.{position}: {problem}")
    if study.stop == "at_baseline":
        if len({arm.labeler for arm in study.arms if arm.labeler not in (None, Labeling())}) > 1:
            raise InputError("stop: at_baseline needs one labeler for all arms; choose stop: budget to compare several")
        baselines = {arm.weighting for arm in study.arms if arm.strategy == BASELINE}
        for position, arm in enumerate(study.arms):
            if arm.weighting not in baselines:
                raise InputError(
                    f"arms.{position}: stop: at_baseline needs the baseline with weighting: {arm.weighting}; add "
                    f"{{strategy: {BASELINE}, weighting: {arm.weighting}}} to the arms"
                )
    check_learner(study)


def _check_answers(study: Study, arm: Arm) -> str | None:
    """Return what is wrong with who answers in an arm, in words, or None."""
    if problem := check_labeler(arm.labeler or Labeling()):
        return f"labeler: {problem}"
    if not asks_zero_shot(arm):
        return None
    if problem := check_zero_shot(study.zero_shot):
        return f"zero_shot.model: {problem}"
    if study.zero_shot.pool == "full" and arm.pool == "subset":
        return "pool: subset with zero_shot.pool: full would start with images that the arm may not pick"
    return None


def asks_zero_shot(arm: Arm) -> bool:
    """Return whether a zero-shot model chooses an arm's initial images; the baseline's are its whole subset."""
    return arm.strategy != BASELINE and arm.start in ZERO_SHOT_STARTS


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


def run_id(run: Run, study: Study, learner_key: str, answers_key: str = "") -> str:
    """Return what stands for all that a run's records depend on; other arms, rows and seeds of the study do not.

    answers_key: stands for the files and models that answer in the run, see `Answers.key`.
    """
    arm = run.arm.model_dump(mode="json")
    if run.arm.labeler in (None, Labeling()):  # true labels: the identity is what it was before there were others
        del arm["labeler"]
    return digest(
        PROTOCOL, learner_key, canonical(run.row), canonical(arm), str(run.seed), str(run.labels),
        str(study.minority), canonical(study.initial), str(study.acquisition), study.start,
        *([answers_key] if answers_key else []),
        *([study.stop] if study.stop != "budget" else []),
    )  # fmt: skip


Embedded = Callable[[], Floats]
"""Gives the pretrained embeddings (N, D), which only a typical start looks at."""


def initial_set(
    dataset: Dataset, study: Study, subset: Subset, run: Run, embedded: Embedded, guesses: Guesses | None = None
) -> Indices:  # fmt: skip
    """Draw a run's initial labelled set: sorted dataset indices, the same for every arm with the same start and pool.

    The baseline arm starts, and ends, with the whole subset. guesses: of the images that a zero-shot start may take.
    """
    if run.arm.strategy == BASELINE:
        return subset.indices
    return _draw_start(dataset, subset, run, str(run.arm.start), schedule(subset.budget, study)[0], embedded, guesses)


def tuning_set(
    dataset: Dataset, study: Study, subset: Subset, run: Run, embedded: Embedded, guesses: Guesses | None = None
) -> Indices:  # fmt: skip
    """Return the initial set on which the run's learner is tuned; the baseline takes that of the study's own start.

    Where that is a zero-shot model's, which the baseline does not ask, it takes a stratified one.
    """
    if run.arm.strategy != BASELINE:
        return initial_set(dataset, study, subset, run, embedded, guesses)
    size = max(study.initial.minimum, round(study.initial.share * subset.budget))
    start = "stratified" if study.start in ZERO_SHOT_STARTS else study.start
    return _draw_start(dataset, subset, run, start, min(size, subset.budget), embedded)


def _draw_start(
    dataset: Dataset, subset: Subset, run: Run, start: str, size: int, embedded: Embedded,
    guesses: Guesses | None = None,
) -> Indices:  # fmt: skip
    """Draw `stratified` by the subset's own class shares (reads hidden labels), or `random` from the arm's pool.

    `typical` is the label-free cold start of Hacohen et al. 2022: TypiClust on the pretrained embeddings of the pool. A
    zero-shot model's start, with its labels or true ones, has the images of which it is most confident.
    """
    if start in ZERO_SHOT_STARTS:
        assert guesses is not None
        rng = generator(run.seed, "initial", "zero-shot", run.row.name)
        return np.sort(guesses.indices[most_confident(guesses.probs, size, rng)])
    if start == "typical":
        pool, none = arm_pool(dataset, subset, run.arm), np.empty(0, np.int64)
        embeddings, classes = {"embeddings": embedded()}, len(dataset.classes)
        return np.sort(run_strategy("typiclust", pool, size, none, embeddings, {}, run.seed, classes=classes).indices)
    rng = generator(run.seed, "initial", start, run.row.name, str(run.arm.pool) if start == "random" else "")
    if start == "random":
        return np.sort(rng.choice(arm_pool(dataset, subset, run.arm), size, replace=False))
    return subset.indices[stratified(dataset.labels[subset.indices], size, rng)]


def arm_pool(dataset: Dataset, subset: Subset, arm: Arm) -> Indices:
    """Return the dataset indices that an arm may pick: the whole pool, or only the row's subset."""
    return subset.indices if arm.pool == "subset" else dataset.pool

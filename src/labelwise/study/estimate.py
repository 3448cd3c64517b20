"""What a study will cost, from a short calibration, before anything is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.config import Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.data.sources import open_dataset
from labelwise.models.learner import Calibration
from labelwise.models.learners import calibrate
from labelwise.strategies import BASELINE, STRATEGIES, embeddings_of, needs_scores, run_strategy
from labelwise.study.plan import Run, check_study, plan_runs
from labelwise.study.workers import default_workers

SAMPLE = 4_096
"""Candidates on which a strategy is timed; its time is taken as linear in their number."""


@dataclass(frozen=True)
class ArmEstimate:
    """An arm on a row, over all its seeds. images: forward and backward passes of the backbone; seconds: estimated."""

    row: str
    arm: str
    runs: int
    rounds: int
    labels: int
    images_forward: int
    images_backward: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """arms: one entry a row and arm; once: seconds spent once for all of them, as embedding the images; workers: how

    many share the runs; longest: seconds of the longest run, which one worker computes.
    """

    arms: list[ArmEstimate]
    once: float
    workers: int
    longest: float

    @property
    def seconds(self) -> float:
        """The whole study's estimated seconds, with the runs shared between the workers."""
        return self.once + max(self.longest, sum(arm.seconds for arm in self.arms) / self.workers)


def estimate_study(study: Study, progress: Progress, workers: int | None = None) -> Estimate:
    """Plan a study and estimate its time on so many workers (None: as many as pay here), each as fast as one here.

    Nothing is written but caches. Errors: InputError as for a run.
    """
    check_study(study)
    dataset = open_dataset(study, progress)
    runs = plan_runs(study, dataset)
    speed = calibrate(dataset, study)
    timed = {arm.strategy: _time_strategy(arm.strategy, dataset, speed) for arm in study.arms}
    seconds = {
        (run.row.name, run.name, run.seed): _seconds(run, dataset, speed, timed[run.arm.strategy]) for run in runs
    }
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.row.name, run.name), []).append(run)
    arms = [
        ArmEstimate(
            row, arm, len(members), sum(len(run.labels) for run in members), sum(run.budget for run in members),
            sum(_forward(run, dataset, speed) for run in members),
            sum(sum(map(speed.backward, run.labels)) for run in members),
            sum(seconds[row, arm, run.seed] for run in members),
        )
        for (row, arm), members in groups.items()
    ]  # fmt: skip
    number = min(workers or default_workers(study, speed.frozen_embeddings), len(runs))
    return Estimate(arms, speed.once, number, max(seconds.values()))


def _scored(run: Run, dataset: Dataset) -> int:
    """Return how many images of the pool a run scores, over all its rounds."""
    if run.arm.strategy == BASELINE or not needs_scores(run.arm.strategy, run.arm.options):
        return 0
    return (len(run.labels) - 1) * (len(dataset.pool) if run.arm.pool == "full" else run.budget)


def _forward(run: Run, dataset: Dataset, speed: Calibration) -> int:
    tested = len(run.labels) * len(dataset.test)
    scored = speed.forward_scored * (tested + _scored(run, dataset))
    return speed.forward_once + sum(map(speed.forward, run.labels)) + scored


def _seconds(run: Run, dataset: Dataset, speed: Calibration, select: Callable[[int, bool], float]) -> float:
    """Estimate one run: fits, tests, and between them scoring and selecting."""
    total = sum(speed.fit(labels) for labels in run.labels) + speed.score(len(run.labels) * len(dataset.test))
    if run.arm.strategy != BASELINE:
        pool = len(dataset.pool) if run.arm.pool == "full" else run.budget
        total += speed.score(_scored(run, dataset))
        total += sum(select(pool, position == 0) for position in range(len(run.labels) - 1))
    return total


def _time_strategy(name: str, dataset: Dataset, speed: Calibration) -> Callable[[int, bool], float]:
    """Time a strategy on random arrays, per candidate: the first round, and a later one with what it keeps."""
    if name == BASELINE:
        return lambda _pool, _first: 0.0
    rng = np.random.default_rng(0)
    size = min(SAMPLE, len(dataset.pool))
    arrays: dict[str, NDArray[Any]] = {
        "probs": rng.dirichlet(np.ones(len(dataset.classes)), size).astype(np.float32),
        "embeddings": rng.standard_normal((size, speed.features)).astype(np.float16),
    }
    if (dropout := STRATEGIES[name].dropout) is not None:
        arrays["stochastic_probs"] = np.stack([arrays["probs"]] * dropout[0])
    frozen = speed.frozen_embeddings or embeddings_of(name, {}) == "pretrained"
    memory: dict[str, Any] | None = {} if frozen else None
    times = []
    for number in range(2):
        started = time.perf_counter()
        run_strategy(
            name,
            np.arange(size),
            64,
            np.empty(0, np.int64),
            arrays,
            {},
            0,
            number,
            memory,
            classes=len(dataset.classes),
        )
        times.append((time.perf_counter() - started) / size)
    return lambda pool, first: pool * times[0 if first else 1]

"""What a study will cost, from a short calibration, before anything is spent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import softmax
from labelwise.config import Arm, Study
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.data.sources import open_dataset
from labelwise.models.backbone import device_count
from labelwise.models.learner import Calibration, Dropout, dropped
from labelwise.models.learners import calibrate
from labelwise.strategies import BASELINE, STRATEGIES, embeddings_of, needs_scores, run_strategy
from labelwise.study.plan import Run, asks_zero_shot, check_study, plan_runs
from labelwise.study.workers import default_workers
from labelwise.threads import cores, cores_shared, one_thread
from labelwise.zero_shot import open_zero_shot

LOG = logging.getLogger("labelwise")
SAMPLES = (2_048, 8_192)
"""Candidates on which a strategy is timed; how its time grows between them is carried on to the whole pool."""
LABELLED, BATCH = 1_000, 250
"""At most so many labelled images and so large a batch while it is timed."""


Select = Callable[[int, bool], float]
"""Seconds of selecting a batch, by the candidates and by whether it is the first."""


class Span(NamedTuple):
    """Seconds as expected, and between what they should lie."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmEstimate:
    """An arm on a row, over all its seeds. images: forward and backward passes of the backbone; seconds: of one worker.

    low, high: where a learner's fits end by themselves, between what its images backward and seconds should lie.
    """

    row: str
    arm: str
    runs: int
    rounds: int
    labels: int
    images_forward: int
    images_backward: int
    images_backward_low: int
    images_backward_high: int
    seconds: float
    seconds_low: float
    seconds_high: float


@dataclass(frozen=True)
class Estimate:
    """arms: one entry a row and arm; once: seconds spent once for all of them, as embedding the images and asking a

    zero-shot model; workers: how many share the runs; longest: seconds of the longest run, which one worker computes,
    and as low and high; early: runs stop where they reach the baseline, so that all this is the most it can be.
    """

    arms: list[ArmEstimate]
    once: float
    workers: int
    longest: float
    longest_low: float
    longest_high: float
    early: bool

    @property
    def seconds(self) -> float:
        """The whole study's estimated seconds, with the runs shared between the workers.

        Also where workers are runs side by side on one GPU: a run's seconds are then those it takes beside the others.
        """
        return self._shared(self.longest, sum(arm.seconds for arm in self.arms))

    @property
    def seconds_low(self) -> float:
        """Its lower end. What makes fits shorter or longer is mostly common to all arms, so their ends are added."""
        return self._shared(self.longest_low, sum(arm.seconds_low for arm in self.arms))

    @property
    def seconds_high(self) -> float:
        """Its upper end."""
        return self._shared(self.longest_high, sum(arm.seconds_high for arm in self.arms))

    def _shared(self, longest: float, whole: float) -> float:
        return self.once + max(longest, whole / self.workers)


def estimate_study(study: Study, progress: Progress, workers: int | None = None) -> Estimate:
    """Plan a study and estimate its time on so many workers (None: as many as pay here), each as fast as one here.

    Nothing is written but caches. Errors: InputError as for a run.
    """
    check_study(study)
    dataset = open_dataset(study, progress)
    for line in dataset.seen.lines():
        LOG.info(line)
    runs = plan_runs(study, dataset)
    speed = calibrate(dataset, study)
    number = min(workers or default_workers(study, speed), len(runs))
    crowd = _crowd(study, speed, number)
    with cores_shared(number):
        timed = {
            name: _time_strategy([run for run in runs if run.name == name], dataset, speed, crowd)
            for name in dict.fromkeys(run.name for run in runs)
        }
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.row.name, run.name), []).append(run)
    arms = [_arm(members, dataset, speed, timed[name]) for (_, name), members in groups.items()]
    longest = max(_seconds([run], dataset, speed, timed[run.name]) for run in runs)  # by what is expected
    once = speed.once + _zero_shot_seconds(study, dataset, runs)
    early = study.stop == "at_baseline"
    return Estimate(arms, once, number, longest.expected, longest.low, longest.high, early)


def _crowd(study: Study, speed: Calibration, workers: int) -> float:
    """Return how many runs share a core while they select, at least 1: those that share this machine's GPUs do.

    Workers with a core each are left alone, since they can be those of a cluster.
    """
    here = speed.side_by_side * device_count(study.learner.device) if speed.side_by_side > 1 else 1
    return max(1.0, min(workers, here) / cores())


def _arm(runs: list[Run], dataset: Dataset, speed: Calibration, select: Select) -> ArmEstimate:
    """Estimate an arm on a row. runs: one a seed."""
    sizes = _fits(runs)
    backward = sum(map(speed.backward, sizes))
    low, high = (round(backward * factor) for factor in speed.spread(sizes))
    seconds = _seconds(runs, dataset, speed, select)
    return ArmEstimate(
        runs[0].row.name,
        runs[0].name,
        runs=len(runs),
        rounds=len(sizes),
        labels=sum(run.budget for run in runs),
        images_forward=sum(_forward(run, dataset, speed) for run in runs),
        images_backward=backward,
        images_backward_low=low,
        images_backward_high=high,
        seconds=seconds.expected,
        seconds_low=seconds.low,
        seconds_high=seconds.high,
    )


def _fits(runs: list[Run]) -> list[int]:
    """Return the labels of each fit of some runs."""
    return [labels for run in runs for labels in run.labels]


def _zero_shot_seconds(study: Study, dataset: Dataset, runs: list[Run]) -> float:
    """Return the seconds of labelling zero-shot what the arms may start with, and the test set."""
    asking = {(run.row, run.seed): run.budget for run in runs if asks_zero_shot(run.arm)}
    if not asking:
        return 0.0
    model = open_zero_shot(study.zero_shot, dataset, study.learner.device, study.leaves_out)
    images = len(dataset.pool) if study.zero_shot.pool == "full" else sum(asking.values())
    return model.pace(dataset.pool) * (images + len(dataset.test))


def _scored(run: Run, dataset: Dataset) -> int:
    """Return how many images of the pool a run scores, over all its rounds."""
    if run.arm.strategy == BASELINE or not needs_scores(run.arm.strategy, run.arm.options):
        return 0
    return (len(run.labels) - 1) * (len(dataset.pool) if run.arm.pool == "full" else run.budget)


def _forward(run: Run, dataset: Dataset, speed: Calibration) -> int:
    tested = len(run.labels) * len(dataset.test)
    scored = speed.forward_scored * (tested + _scored(run, dataset))
    return speed.forward_once + sum(map(speed.forward, run.labels)) + scored


def _seconds(runs: list[Run], dataset: Dataset, speed: Calibration, select: Select) -> Span:
    """Estimate some runs of an arm: fits, whose lengths can differ, tests, and between them scoring and selecting."""
    sizes = _fits(runs)
    fits, others = sum(map(speed.fit, sizes)), speed.score(len(sizes) * len(dataset.test))
    for run in runs:
        if run.arm.strategy != BASELINE:
            pool = len(dataset.pool) if run.arm.pool == "full" else run.budget
            others += speed.score(_scored(run, dataset))
            others += sum(select(pool, position == 0) for position in range(len(run.labels) - 1))
    low, high = speed.spread(sizes)
    return Span(fits + others, low * fits + others, high * fits + others)


def _time_strategy(runs: list[Run], dataset: Dataset, speed: Calibration, crowd: float = 1.0) -> Select:
    """Time an arm's strategy on random arrays: seconds of its first round, and of a later one with what it keeps.

    Where it looks at passes with dropout, they are included. crowd: runs that share a core.
    """
    arm = runs[0].arm
    if arm.strategy == BASELINE:
        return lambda _pool, _first: 0.0
    labelled = min(LABELLED, int(np.median([size for run in runs for size in run.labels])))
    batch = max(1, min(BATCH, int(np.median([run.batch for run in runs]))))
    smallest = min(len(dataset.pool), max(SAMPLES[0], 2 * (labelled + batch)))
    sizes = smallest, min(len(dataset.pool), max(SAMPLES[1], 2 * smallest))
    labelled, batch = min(labelled, smallest // 2), min(batch, smallest // 4)
    frozen = speed.frozen_embeddings or embeddings_of(arm.strategy, arm.options) == "pretrained"
    times = [_rounds(arm, size, labelled, batch, frozen, len(dataset.classes), speed.features) for size in sizes]

    def select(pool: int, first: bool) -> float:
        before, seconds = (time_[0 if first else 1] for time_ in times)
        grown = sizes[1] / sizes[0]
        power = np.clip(np.log(seconds / before) / np.log(grown), 1, 2) if grown > 1 else 1.0
        return float(crowd * seconds * (pool / sizes[1]) ** power)

    return select


def _rounds(
    arm: Arm, size: int, labelled: int, batch: int, frozen: bool, classes: int, features: int
) -> tuple[float, float]:
    """Return the seconds of a first and a later round on random arrays, with passes with dropout."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(classes), size).astype(np.float32)
    embeddings = rng.standard_normal((size, features), np.float32).astype(np.float16)
    arrays: dict[str, NDArray[Any]] = {"probs": probs, "embeddings": embeddings}
    memory: dict[str, Any] | None = {} if frozen else None
    weights = rng.standard_normal((features, classes), np.float32)
    times = []
    for number in range(2):
        started = time.perf_counter()
        if (dropout := STRATEGIES[arm.strategy].dropout) is not None:
            drawn = Dropout(*dropout, seed=0)
            with one_thread():
                arrays["stochastic_probs"] = dropped(
                    embeddings.astype(np.float32), drawn, 0, lambda rows: softmax(rows @ weights)
                )
        run_strategy(
            arm.strategy, np.arange(labelled, size), batch, np.arange(labelled), arrays, arm.options, 0, number, memory,
            classes=classes,
        )  # fmt: skip
        times.append(time.perf_counter() - started)
    return times[0], times[1]

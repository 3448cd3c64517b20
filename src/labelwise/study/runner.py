"""Computes the rounds of one run, on any worker: a pure function of configuration, seed and labelled set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from labelwise.config import Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.subsets import draw_subset
from labelwise.labelers import LabelEvents, Oracle
from labelwise.loop import Round, Shared, Task
from labelwise.loop import run as run_loop
from labelwise.models.learner import Learner
from labelwise.state import EMPTY, State, advance
from labelwise.strategies import BASELINE
from labelwise.study.plan import Run, arm_pool, initial_set, tuning_set


@dataclass
class Kept:
    """What arms of one row and seed share: equal fits, what was tuned, and what depends on frozen embeddings alone."""

    fits: dict[str, Shared] = field(default_factory=dict)
    tuned: dict[bytes, tuple[dict[str, Any], float]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> Kept:
        """Return what is worth sending to another worker: small, and without the learner."""
        fits = {
            key: Shared(
                replace(shared.fitted, learner=None),  # type: ignore[type-var]
                shared.test,
                replace(shared.scores, embeddings=None) if shared.scores else None,
            )
            for key, shared in self.fits.items()
        }
        return Kept(fits, self.tuned, {})

    def add(self, packed: Kept, learner: Learner) -> None:
        """Take in what another worker sent, and give the fits this worker's learner."""
        for key, shared in packed.fits.items():
            if key not in self.fits:
                fitted = replace(shared.fitted, learner=learner)  # type: ignore[type-var]
                self.fits[key] = Shared(fitted, shared.test, shared.scores)
        self.tuned.update(packed.tuned)


@dataclass(frozen=True)
class Step:
    """One finished round of a run, as it goes into the records. initial: the run's start, with its first round."""

    done: Round
    initial: LabelEvents | None
    events: LabelEvents | None


def share_key(run: Run) -> str:
    """Return what stands for a run's first fit: runs with equal keys share it."""
    start = "subset" if run.arm.strategy == BASELINE else str(run.arm.start)
    pool = str(run.arm.pool) if start == "random" else ""
    return digest(canonical(run.row), str(run.seed), start, pool, str(run.arm.weighting))


@dataclass(frozen=True)
class Runner:
    """Computes runs of one study with one learner."""

    study: Study
    dataset: Dataset
    learner: Learner

    def steps(self, run: Run, state: State | None, kept: Kept) -> Iterator[Step]:
        """Go on with a run from its recorded state (None: from the start); yield each finished round."""
        subset = draw_subset(self.dataset, self.study, run.row, run.seed)
        labels = self.dataset.labels
        chosen_on = tuning_set(self.dataset, self.study, subset, run)
        if chosen_on.tobytes() not in kept.tuned:
            started = time.perf_counter()
            chosen = self.learner.tune(chosen_on, labels[chosen_on], run.seed)
            kept.tuned[chosen_on.tobytes()] = chosen, time.perf_counter() - started
        task = Task(
            self.learner, run.arm, run.seed, arm_pool(self.dataset, subset, run.arm), self.dataset.test, labels,
            run.budget, run.batch, *kept.tuned[chosen_on.tobytes()], kept.fits, kept.memory, run.target,
        )  # fmt: skip
        labeler, initial = Oracle(labels), None
        if state is None:
            initial = labeler.label(initial_set(self.dataset, self.study, subset, run))
            state = advance(EMPTY, initial)
        for done, events in run_loop(task, state, labeler):
            yield Step(done, initial, events)
            initial = None

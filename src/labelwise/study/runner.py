"""Computes the rounds of one run, on any worker: a pure function of configuration, seed and labelled set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from labelwise.config import Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import unseen
from labelwise.data.subsets import draw_subset
from labelwise.labelers import LabelEvents
from labelwise.loop import Round, Shared, Task
from labelwise.loop import run as run_loop
from labelwise.models.learner import Learner
from labelwise.parts import Labeling
from labelwise.state import EMPTY, State, advance
from labelwise.strategies import BASELINE
from labelwise.study.answers import Answers, open_answers
from labelwise.study.plan import Run, arm_pool


@dataclass
class Kept:
    """What arms of one row and seed share: equal fits, what was tuned, and what depends on frozen embeddings alone."""

    fits: dict[str, Shared] = field(default_factory=dict)
    tuned: dict[bytes, tuple[dict[str, Any], float]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> Kept:
        """Return what is worth sending to another worker: small, and without the learner.

        Arrays are shared with workers of this process, so nobody may write into them.
        """
        fits = {
            key: Shared(
                replace(shared.fitted, learner=None),  # type: ignore[type-var]
                shared.test,
                replace(shared.scores, embeddings=None) if shared.scores else None,
            )
            for key, shared in self.fits.items()
        }
        return Kept(fits, dict(self.tuned), {})

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
    pool = str(run.arm.pool) if start in ("random", "typical") else ""
    labeler = canonical(run.arm.labeler or Labeling())
    return digest(canonical(run.row), str(run.seed), start, pool, str(run.arm.weighting), labeler)


@dataclass(frozen=True)
class Runner:
    """Computes runs of one study with one learner."""

    study: Study
    dataset: Dataset
    learner: Learner

    @cached_property
    def answers(self) -> Answers:
        """Who answers in the study: opened with the first run, in each worker."""
        return open_answers(self.study, self.dataset, lambda: self.learner.pretrained(unseen)[0])

    def steps(self, run: Run, state: State | None, kept: Kept) -> Iterator[Step]:
        """Go on with a run from its recorded state (None: from the start); yield each finished round."""
        subset = draw_subset(self.dataset, self.study, run.row, run.seed)
        guesses = self.answers.guesses(run, subset)  # held to the end, so that they are made once
        chosen_on = self.answers.tuning(run, subset)
        key = chosen_on.indices.tobytes() + chosen_on.labels.tobytes()
        if key not in kept.tuned:
            started = time.perf_counter()
            chosen = self.learner.tune(chosen_on.indices, chosen_on.labels, run.seed)
            kept.tuned[key] = chosen, time.perf_counter() - started
        task = Task(
            self.learner, run.arm, run.seed, arm_pool(self.dataset, subset, run.arm), self.dataset.test,
            self.dataset.labels, run.budget, run.batch, *kept.tuned[key], kept.fits, kept.memory,
            (run.arm.labeler or Labeling()).overlap, guesses.seconds if guesses else 0.0, run.target,
        )  # fmt: skip
        initial = None
        if state is None:
            initial = self.answers.start(run, subset)
            state = advance(EMPTY, initial)
        for done, events in run_loop(task, state, self.answers.labeler(run)):
            details = {**done.details, **self.answers.audited(run, subset, state)}
            yield Step(replace(done, details=details), initial, events)
            initial, state = None, advance(state, events) if events else state

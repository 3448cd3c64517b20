"""The active-learning loop, for simulated studies and for people alike.

`propose(task, state)` trains on what is labelled, evaluates, and says which images to label next; `advance(state,
events)` takes the answers in. Both are pure: a state is what has been labelled, and is rebuilt from the records, so a
run can stop anywhere and go on. A simulation answers every question at once; people may answer late and in part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.config import Arm, digest
from labelwise.labelers import Labeler, LabelEvents
from labelwise.memory import peak_memory_mb
from labelwise.metrics import Metrics, evaluate
from labelwise.models.learner import FitCost, Fitted, Learner, Preparation
from labelwise.state import State, advance
from labelwise.strategies import STRATEGIES, Picks, run_strategy


@dataclass(frozen=True)
class Task:
    """Everything that a run's rounds depend on beside the state.

    pool: dataset indices that may be picked; test: the test set's; truth: (N,) labels, read for the test set only;
    budget: N labels; batch: labels a round; tuned: what the learner chose once, and the seconds of it. fits and memory
    hold results that equal calls would give again, shared between the arms of a row and seed.
    """

    learner: Learner
    arm: Arm
    seed: int
    pool: Indices
    test: Indices
    truth: Labels
    budget: int
    batch: int
    tuned: dict[str, Any]
    seconds_tuning: float = 0.0
    fits: dict[str, tuple[Fitted, Test]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Test:
    """A fit's evaluation: metrics, (T, K) float16 probabilities, seconds."""

    metrics: Metrics
    probs: NDArray[np.float16]
    seconds: float


@dataclass(frozen=True)
class Round:
    """One finished round: what was trained, how good it is, what it cost, and the batch to label next (maybe empty)."""

    round: int
    labels: int
    labels_train: int
    labels_val: int
    labels_pseudo: int
    fit: FitCost
    seconds_tuning: float
    test: Test
    seconds_score: float
    seconds_select: float
    preparation: Preparation
    picks: Picks
    fit_key: str
    details: dict[str, Any]
    peak_memory_mb: float


def run(task: Task, state: State, labeler: Labeler) -> Iterator[tuple[Round, LabelEvents | None]]:
    """Go on from a state until the budget is spent: yields each finished round and the answers it asked for."""
    while True:
        done = propose(task, state)  # 1. train, evaluate, pick
        if not len(done.picks.indices):  # 2. the budget is spent
            yield done, None
            return
        events = labeler.label(done.picks.indices)  # 3. ask
        yield done, events  # 4. the caller records
        state = advance(state, events)  # 5. and on


def propose(task: Task, state: State) -> Round:
    """Train on the labelled set, evaluate on the test set, and pick the next batch. Pure in (task, state)."""
    key = fit_key(task, state)
    if key not in task.fits:
        order = np.argsort(state.indices)  # a fit depends on the set, not on the order of its acquisition
        model = task.learner.fit(
            state.indices[order], state.labels[order], str(task.arm.weighting), task.seed, task.tuned
        )  # fmt: skip
        found = model, _test(task, model)
        if state.round == 0 or len(state.indices) == len(task.pool):  # what another arm can meet again
            task.fits[key] = found
    fitted, test = task.fits.get(key) or found
    picks, seconds_score, seconds_select = _pick(task, state, fitted)
    return Round(
        round=state.round,
        labels=len(state.indices),
        labels_train=fitted.labels_train,
        labels_val=fitted.labels_val,
        labels_pseudo=state.sources.count("zero-shot"),
        fit=fitted.cost,
        seconds_tuning=task.seconds_tuning if state.round == 0 else 0.0,
        test=test,
        seconds_score=seconds_score,
        seconds_select=seconds_select,
        preparation=task.learner.preparation if state.round == 0 else Preparation(),
        picks=picks,
        fit_key=key,
        details=fitted.details,
        peak_memory_mb=peak_memory_mb(),
    )


def fit_key(task: Task, state: State) -> str:
    """Return what stands for everything that a fit depends on: equal keys, equal fits."""
    order = np.argsort(state.indices)
    sources = [state.sources[i] for i in order]
    return digest(
        task.learner.key, state.indices[order].tobytes().hex(), state.labels[order].tobytes().hex(),
        " ".join(sources), str(task.arm.weighting), str(task.seed), repr(sorted(task.tuned.items())),
    )  # fmt: skip


def _test(task: Task, fitted: Fitted) -> Test:
    started = time.perf_counter()
    probs = fitted.predict(task.test).probs
    metrics = evaluate(probs, task.truth[task.test])
    return Test(metrics, probs.astype(np.float16), time.perf_counter() - started)


def _pick(task: Task, state: State, fitted: Fitted) -> tuple[Picks, float, float]:
    """Return the next batch, and the seconds of scoring the pool and of selecting from it."""
    wanted = min(task.batch, task.budget - len(state.indices))
    if wanted <= 0:
        return Picks(np.empty(0, np.int64), np.empty(0)), 0.0, 0.0
    started = time.perf_counter()
    candidates = np.setdiff1d(task.pool, state.indices)
    arrays: dict[str, NDArray[Any]] = {}
    needs = STRATEGIES[task.arm.strategy].needs
    if "probs" in needs:
        predicted = fitted.predict(candidates)
        probs = np.full((len(task.truth), predicted.probs.shape[1]), np.nan, np.float32)
        probs[predicted.indices] = predicted.probs
        arrays["probs"] = probs
    if "embeddings" in needs:
        arrays["embeddings"] = fitted.embeddings()
    scored = time.perf_counter()
    memory = task.memory if task.learner.frozen_embeddings else None
    picks = run_strategy(
        task.arm.strategy, candidates, wanted, state.indices, arrays, task.arm.options, task.seed, state.round, memory
    )
    return picks, scored - started, time.perf_counter() - scored

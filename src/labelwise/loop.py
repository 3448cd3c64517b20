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

from labelwise.arrays import Indices, Labels, Predictions
from labelwise.config import Arm, digest
from labelwise.data.images import unseen
from labelwise.labelers import Labeler, LabelEvents
from labelwise.memory import peak_memory_mb
from labelwise.metrics import Metrics, evaluate
from labelwise.models.learner import Dropout, FitCost, Fitted, Learner, Preparation
from labelwise.seeds import integer
from labelwise.state import State, advance
from labelwise.strategies import BASELINE, STRATEGIES, Picks, embeddings_of, needs_scores, run_strategy


@dataclass(frozen=True)
class Task:
    """Everything that a run's rounds depend on beside the state.

    pool: dataset indices that may be picked; test: the test set's; truth: (N,) labels, read for the test set only;
    budget: N labels; batch: labels a round; tuned: what the learner chose once, and the seconds of it. fits and memory
    hold results that equal calls would give again, shared between the arms of a row and seed; each arm is charged all.
    answers: how many of them are bought for a label; seconds_zero_shot: what a zero-shot start took.
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
    fits: dict[str, Shared] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    answers: int = 1
    seconds_zero_shot: float = 0.0
    target: tuple[float, float] | None = None  # test accuracy and loss: the first round that beats both is the last


@dataclass(frozen=True)
class Test:
    """A fit's evaluation: metrics, (T, K) float16 probabilities, seconds, images through the backbone."""

    metrics: Metrics
    probs: NDArray[np.float16]
    seconds: float
    images_forward: int


@dataclass
class Shared:
    """A fit, its evaluation, and the last scores of a pool: what several arms ask for in their first round."""

    fitted: Fitted
    test: Test
    scores: Predictions | None = None


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
    images_scored: int
    seconds_select: float
    preparation: Preparation
    picks: Picks
    fit_key: str
    details: dict[str, Any]
    peak_memory_mb: float
    answers: int = 1
    seconds_zero_shot: float = 0.0


def run(task: Task, state: State, labeler: Labeler) -> Iterator[tuple[Round, LabelEvents | None]]:
    """Go on from a state until the budget is spent, or the target beaten: yields each round and its answers."""
    while True:
        done = propose(task, state)  # 1. train, evaluate, pick
        if not len(done.picks.indices):  # 2. the budget is spent, or the target beaten
            yield done, None
            return
        events = labeler.label(done.picks.indices)  # 3. ask
        yield done, events  # 4. the caller records
        state = advance(state, events)  # 5. and on


def propose(task: Task, state: State) -> Round:
    """Train on the labelled set, evaluate on the test set, and pick the next batch. Pure in (task, state)."""
    found = trained(task, state)
    fitted, test = found.fitted, found.test
    picks, scores, seconds_select = _pick(task, state, found)
    return Round(
        round=state.round,
        labels=len(state.indices),
        labels_train=fitted.labels_train,
        labels_val=fitted.labels_val,
        labels_pseudo=state.sources.count("zero-shot"),
        fit=fitted.cost,
        seconds_tuning=task.seconds_tuning if state.round == 0 else 0.0,
        test=test,
        seconds_score=scores.seconds if scores else 0.0,
        images_scored=test.images_forward + (scores.images_forward if scores else 0),
        seconds_select=seconds_select,
        preparation=_preparation(task) if state.round == 0 else Preparation(),
        picks=picks,
        fit_key=fit_key(task, state),
        details={**({"chosen": task.tuned} if task.tuned else {}), **fitted.details},
        peak_memory_mb=peak_memory_mb(),
        answers=task.answers,
        seconds_zero_shot=task.seconds_zero_shot if state.round == 0 else 0.0,
    )


def trained(task: Task, state: State) -> Shared:
    """Train on the labelled set and evaluate on the test set, unless an equal call's results were kept."""
    key = fit_key(task, state)
    found = task.fits.get(key)
    if found is None:
        order = np.argsort(state.indices)  # a fit depends on the set, not on the order of its acquisition
        fitted = task.learner.fit(
            state.indices[order], state.labels[order], str(task.arm.weighting), task.seed, task.tuned
        )  # fmt: skip
        found = Shared(fitted, _test(task, fitted))
        if state.round == 0 or len(state.indices) == len(task.pool):  # what another arm can meet again
            task.fits[key] = found
    return found


def needs_pretrained(arm: Arm) -> bool:
    """Return whether an arm looks at the embeddings of the backbone before training: its strategy, or its start."""
    if arm.strategy == BASELINE:
        return False
    return arm.start == "typical" or embeddings_of(arm.strategy, arm.options) == "pretrained"


def _preparation(task: Task) -> Preparation:
    """Return what was computed once, before the first round: all of it is charged to every run that needs it."""
    own = task.learner.preparation
    if not needs_pretrained(task.arm):
        return own
    more = task.learner.pretrained(unseen)[1]
    return Preparation(
        own.seconds_score + more.seconds_score, own.seconds_evaluate, own.images_forward + more.images_forward
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
    predicted = fitted.predict(task.test)
    metrics = evaluate(predicted.probs, task.truth[task.test])
    seconds = time.perf_counter() - started
    return Test(metrics, predicted.probs.astype(np.float16), seconds, predicted.images_forward)


def _pick(task: Task, state: State, found: Shared) -> tuple[Picks, Predictions | None, float]:
    """Return the next batch, the scores it was picked by, and the seconds of selecting."""
    wanted = min(task.batch, task.budget - len(state.indices))
    if wanted <= 0 or _beaten(task, found.test):
        return Picks(np.empty(0, np.int64), np.empty(0)), None, 0.0
    candidates = np.setdiff1d(task.pool, state.indices)
    needs = STRATEGIES[task.arm.strategy].needs
    whose = embeddings_of(task.arm.strategy, task.arm.options)
    scored = needs_scores(task.arm.strategy, task.arm.options)
    scores = _score(task, state, found, whose == "current") if scored else None
    arrays: dict[str, NDArray[Any]] = {}
    started = time.perf_counter()
    if scores is not None:
        arrays["probs"] = _spread(scores.probs, scores.indices, len(task.truth))
        if scores.embeddings is not None:
            arrays["embeddings"] = scores.embeddings
        if scores.stochastic is not None:
            arrays["stochastic_probs"] = _spread(scores.stochastic, scores.indices, len(task.truth))
    if whose == "pretrained":
        arrays["embeddings"] = task.learner.pretrained(unseen)[0]
    memory = task.memory if task.learner.frozen_embeddings or whose == "pretrained" else None
    picks = run_strategy(
        task.arm.strategy, candidates, wanted, state.indices, {need: arrays[need] for need in needs},
        task.arm.options, task.seed, state.round, memory, classes=found.test.probs.shape[1],
    )  # fmt: skip
    return picks, scores, time.perf_counter() - started


def _beaten(task: Task, test: Test) -> bool:
    if task.target is None:
        return False
    accuracy, loss = task.target
    return test.metrics.accuracy > accuracy and test.metrics.loss < loss


def _spread(values: NDArray[Any], indices: Indices, count: int) -> NDArray[Any]:
    """Return (.., N, K) values by dataset index from (.., n, K) ones at `indices`; NaN elsewhere."""
    spread = np.full((*values.shape[:-2], count, values.shape[-1]), np.nan, np.float32)
    spread[..., indices, :] = values
    return spread


def _score(task: Task, state: State, found: Shared, embeddings: bool) -> Predictions:
    """Score the candidates, and embed the labelled images too where the strategy looks at the model's embeddings."""
    indices = task.pool if embeddings else np.setdiff1d(task.pool, state.indices)
    if dropout := STRATEGIES[task.arm.strategy].dropout:
        drawn = Dropout(*dropout, seed=integer(task.seed, "dropout", state.round))
        return found.fitted.predict(indices, embeddings, drawn)
    kept = found.scores
    # the same images in the same order, or none: in another batch an image's last bits can differ
    same = kept is not None and np.array_equal(indices, kept.indices)
    if kept is None or not same or (embeddings and kept.embeddings is None):
        kept = found.scores = found.fitted.predict(indices, embeddings)
    return kept

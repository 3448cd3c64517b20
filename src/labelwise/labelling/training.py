"""Behind the page: the engine's own round on what people have labelled so far. In a process of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from labelwise.arrays import Indices
from labelwise.cache import Rows
from labelwise.config import Arm, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import unseen
from labelwise.errors import InputError
from labelwise.labelers import LabelEvents
from labelwise.labelling.advice import UNKNOWN, next_batch, picking_helps
from labelwise.labelling.messages import Advice, Ask, Job, Judged, Picked
from labelwise.labelling.preparation import image_set, is_there
from labelwise.loop import Shared, Task, fit_key, propose, trained
from labelwise.models.learner import Preparation
from labelwise.models.probe import Probe, pool_statistics
from labelwise.parts import ZeroShot
from labelwise.seeds import generator
from labelwise.state import EMPTY, State, advance
from labelwise.strategies import run_strategy
from labelwise.zero_shot import open_zero_shot

PENALTY = 0.01
"""Of the probe. It is not chosen by cross-validation: on picked labels, which are hard ones, that asks for far too much
(on 60 picked labels of CIFAR-10: 38 % right where this gives 52 %)."""
SUSPICIOUS, SURE = 20, 0.5
"""At most so many labels are doubted, where the model gives another class at least this probability more."""
FOLDS = 5


class Trainer:
    """Keeps what does not change from round to round: the embeddings and their statistics, and what strategies keep.

    there: (N,) whether an image is embedded; features: (N, D) float16.
    """

    def __init__(self) -> None:
        self.key = ""
        self.there: NDArray[np.bool_] = np.empty(0, bool)
        self.features: NDArray[np.float16] = np.empty((0, 0), np.float16)
        self.probe: Probe | None = None
        self.memory: dict[str, Any] = {}

    def train(self, job: Job, say: Callable[[Picked | Judged], None]) -> None:
        """Train, evaluate, pick and say so; then judge, and say that."""
        job = self._opened(job)
        if job.cold or not len(job.indices):
            say(self._cold_start(job))
            return
        task, state = self._task(job), _state(job)
        shared = trained(task, state)
        task.fits[fit_key(task, state)] = shared  # propose finds it there
        done = propose(task, state)
        right = int((shared.test.probs.argmax(axis=1) == job.truth).sum())
        between = binomtest(right, len(job.truth)).proportion_ci(method="wilson")
        interval = (float(between.low), float(between.high))
        say(
            Picked(
                job.number, job.seq, job.columns, done.picks.indices, "picked", len(job.indices),
                self._everything(job, shared), right, len(job.truth), interval,
            )
        )  # fmt: skip
        say(self._judge(job, task, shared))

    def _opened(self, job: Job) -> Job:
        """Open the embeddings of a job's images; return the job without those whose embedding is not what was written.

        Errors: InputError where nothing is left.
        """
        key = digest(job.folder, hashlib.sha256(job.hashes.tobytes()).hexdigest())
        if key != self.key:
            wanted = np.flatnonzero(job.hashes.any(axis=1))
            places = np.full(job.rows, -1, np.int64)
            with Rows(Path(job.folder), job.features, write=False) as store:
                rows, sound = store.find(job.hashes[wanted])
                places[wanted[sound]] = rows[sound]
                self.features = store.gather(places)  # a row of NaN where there is none: nothing may use it
            self.key, self.there, self.probe, self.memory = key, places >= 0, None, {}
        job = job.only(self.there)
        if not len(job.pool) and not (len(job.indices) and len(job.test)):
            raise InputError(f"the embeddings in {job.folder} are gone; start again, and they are made again")
        return job

    def _learner(self, job: Job) -> Probe:
        """Return the probe on what is embedded so far."""
        if self.probe is None or self.probe.classes != len(job.columns):
            if self.probe is None:
                usable = np.union1d(np.union1d(job.pool, job.indices), job.test)
                mean, scale = pool_statistics(self.features, usable)
            else:
                mean, scale = self.probe.mean, self.probe.scale
            key = f"{self.key} {job.columns}"
            self.probe = Probe(self.features, mean, scale, len(job.columns), key, {}, Preparation())
            self.memory = {}
        return self.probe

    def _task(self, job: Job) -> Task:
        truth = np.full(job.rows, -1, np.int64)
        truth[job.test] = job.truth
        arm = Arm(strategy=job.strategy, start="typical", pool="full", weighting="none", options=job.options)
        wanted = min(job.batch, len(job.pool))
        pool = np.union1d(job.pool, job.indices)
        learner: Any = self._learner(job)  # it keeps to the protocol; its attributes are read-only
        return Task(
            learner, arm, job.seed, pool, job.test, truth, len(job.indices) + wanted, wanted,
            {"penalty": PENALTY},
            memory=self.memory,
        )  # fmt: skip

    def _cold_start(self, job: Job) -> Picked:
        """Return typical images (Hacohen et al. 2022): what is picked before there is a training label."""
        features = self._learner(job).features
        picks = run_strategy(
            "typiclust", job.pool, min(job.batch, len(job.pool)), job.indices, {"embeddings": features}, {}, job.seed,
            classes=len(job.columns),
        )  # fmt: skip
        return Picked(job.number, job.seq, job.columns, picks.indices, "typical", 0)

    def _everything(self, job: Job, shared: Shared) -> NDArray[np.float32]:
        """Return (rows, K) probabilities, NaN for what is not embedded; what was scored to pick is not scored again."""
        probs = np.full((job.rows, len(job.columns)), np.nan, np.float32)
        if shared.scores is not None:
            probs[shared.scores.indices] = shared.scores.probs
        probs[job.test] = shared.test.probs
        rest = np.flatnonzero(np.isnan(probs[:, 0]) & self.there)
        if len(rest):
            probs[rest] = shared.fitted.predict(rest).probs
        return probs

    def _judge(self, job: Job, task: Task, shared: Shared) -> Judged:
        def correct(positions: Indices) -> NDArray[np.bool_]:
            chosen = positions[np.argsort(job.indices[positions])]
            fitted = task.learner.fit(job.indices[chosen], job.labels[chosen], "none", job.seed, task.tuned)
            return np.asarray(fitted.predict(job.test).probs.argmax(axis=1) == job.truth)

        if len(np.unique(job.labels)) < 2:
            unknown = Advice(UNKNOWN, "All training labels are of one class so far.")
            return Judged(job.number, unknown, unknown, [])
        accuracy = float((shared.test.probs.argmax(axis=1) == job.truth).mean())
        advice = next_batch(correct, len(job.indices), job.ahead, job.seconds, job.seed, accuracy)
        helping = picking_helps(correct, np.flatnonzero(job.picked), np.flatnonzero(job.random), job.seed)
        return Judged(job.number, advice, helping, self._doubted(job, task))

    def _doubted(self, job: Job, task: Task) -> list[tuple[int, int, float]]:
        """Return labels that models which had not seen them find improbable (confident learning's self-confidence,
        Northcutt et al. 2021), by cross-validation.

        Not the test slice's: asking again only where the model disagrees would raise the accuracy that is measured.
        """
        rows, given, probs = list[Any](), list[Any](), list[Any]()
        folds = generator(job.seed, "doubted", len(job.indices)).permutation(len(job.indices)) % FOLDS
        for fold in range(FOLDS if len(job.indices) >= 4 * FOLDS else 0):
            seen, held = np.sort(job.indices[folds != fold]), job.indices[folds == fold]
            labels = job.labels[folds != fold][np.argsort(job.indices[folds != fold])]
            fitted = task.learner.fit(seen, labels, "none", job.seed, task.tuned)
            rows.append(held)
            given.append(job.labels[folds == fold])
            probs.append(fitted.predict(held).probs)
        if not rows:
            return []
        row, label, prob = np.concatenate(rows), np.concatenate(given), np.concatenate(probs)
        best = prob.argmax(axis=1)
        doubt = prob[np.arange(len(row)), best] - prob[np.arange(len(row)), label]
        worst = [i for i in np.argsort(-doubt, kind="stable")[:SUSPICIOUS] if doubt[i] >= SURE]
        return [(int(row[i]), int(best[i]), float(prob[i, best[i]])) for i in worst]


def _state(job: Job) -> State:
    """Take people's answers in, a round's at a time, by the engine's own `advance`."""
    state = EMPTY
    for number in np.unique(job.rounds):
        part = job.rounds == number
        state = advance(state, LabelEvents(job.indices[part], job.labels[part], "person"))
    return state


def suggested(ask: Ask) -> tuple[tuple[int, ...], NDArray[np.float32]]:
    """Return a zero-shot model's class probabilities (N, K), NaN for unreadable images. Errors: InputError."""
    images = image_set(ask.root, ask.images, False, ask.bits, ask.resize)
    readable = np.array([i for i, image in enumerate(ask.images) if is_there(ask.root, image)], np.int64)
    content = hashlib.sha256("".join(image.sha256 for image in ask.images).encode()).hexdigest()[:16]
    nothing = np.zeros(len(images), np.int64)
    dataset = Dataset(
        str(ask.root), ask.names, replace(images, fingerprint=content), nothing, readable, readable[:0], content
    )
    model = open_zero_shot(ZeroShot(model=ask.model), dataset, ask.device, skipped=True)
    probs = np.full((len(images), len(ask.names)), np.nan, np.float32)
    probs[readable] = model.predict(readable, unseen).probs
    return ask.columns, probs

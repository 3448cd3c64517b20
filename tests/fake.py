"""A learner without a backbone, for tests of everything around learners: nearest class mean on raw pixels."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.arrays import Indices, Labels, Predictions, floored
from labelwise.models import learners
from labelwise.models.learner import FitCost, LearnerInfo, Preparation
from labelwise.study import workers
from together import Together

FITS: list[tuple[int, ...]] = []
"""The labelled sets that were really fitted, in order."""

CALLS: list[tuple[str, dict[str, Any], Any]] = []
"""Weighting, what was tuned, and labels a class of each fit, in order."""
TUNED: list[tuple[int, ...]] = []
"""The sets that were tuned on, in order."""


@dataclass(frozen=True)
class Fake:
    features: Any
    classes: int
    key: str
    used: dict[str, str] = field(default_factory=lambda: {"learner": "fake"})
    preparation: Preparation = field(default_factory=lambda: Preparation(1.0, 0.5, 100))
    frozen_embeddings: bool = True
    side_by_side: int = 1
    together: Together | None = None

    def pretrained(self, progress: Any) -> Any:
        return self.features, Preparation()

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        TUNED.append(tuple(indices.tolist()))
        return {"tuned_on": len(indices)}

    def stop(self) -> None:
        if self.together:
            self.together.stop()

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> FittedFake:
        if self.together:
            return self.together.compute(lambda: self.fitted(indices, labels, weighting, tuned))
        return self.fitted(indices, labels, weighting, tuned)

    def fitted(self, indices: Indices, labels: Labels, weighting: str, tuned: dict[str, Any]) -> FittedFake:
        FITS.append(tuple(indices.tolist()))
        if "FAKE_FITS" in os.environ:  # where a test looks for what other processes fitted
            with Path(os.environ["FAKE_FITS"]).open("a") as file:
                file.write(f"{os.getpid()} {hash_of(indices)}\n")
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
        CALLS.append((weighting, tuned, np.bincount(labels, minlength=self.classes)))
        means = np.full((self.classes, self.features.shape[1]), 1e3)
        for k in np.unique(labels):
            means[k] = self.features[indices[labels == k]].mean(axis=0)
        return FittedFake(self, means, FitCost(0.25, 3, 7, 5), len(indices), 0, tuned)


@dataclass(frozen=True)
class FittedFake:
    learner: Fake
    means: Any
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Any = None) -> Predictions:
        distance = np.linalg.norm(self.learner.features[indices][:, None] - self.means, axis=2)
        logits = np.exp(-(distance - distance.min(axis=1, keepdims=True)))
        probs = floored(logits / logits.sum(axis=1, keepdims=True))
        passes = np.stack([probs] * dropout.passes) if dropout else None
        return Predictions(indices, probs, self.learner.features if embeddings else None, passes, 0.01, len(indices))


def build(dataset: Any, study: Any, progress: Any) -> Fake:
    pixels = dataset.images.pixels[..., 0].reshape(len(dataset.images), -1).astype(np.float32) / 64
    side = int(os.environ.get("FAKE_SIDE_BY_SIDE", "1"))  # above 1, fits are computed together
    together = Together() if side > 1 else None
    return Fake(pixels, len(dataset.classes), dataset.fingerprint, side_by_side=side, together=together)


def hash_of(indices: Indices) -> str:
    return hashlib.sha256(indices.tobytes()).hexdigest()[:12]


def work(connection: Any, study: Any, key: str, spec: Any) -> None:
    """Be a worker that knows this learner."""
    install()
    workers.work(connection, study, key, spec)


def die(connection: Any, study: Any, key: str, spec: Any) -> None:
    """Be a worker that is killed at once, as by a system without memory."""
    connection.recv()
    os._exit(9)


def die_once(connection: Any, study: Any, key: str, spec: Any) -> None:
    """Be a worker; of all, the first that gets a second order is killed by it."""
    install()
    received = []

    class Watched:
        def recv(self) -> Any:
            received.append(order := connection.recv())
            if len(received) == 2:
                with suppress(FileExistsError):
                    Path(os.environ["FAKE_DIED"]).touch(exist_ok=False)
                    os._exit(9)
            return order

        send = staticmethod(connection.send)

    workers.work(Watched(), study, key, spec)  # type: ignore[arg-type]


def fail(connection: Any, study: Any, key: str, spec: Any) -> None:
    """Be a worker in which something that nobody expected happens."""
    install()
    Fake.fit = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    workers.work(connection, study, key, spec)


def install() -> None:
    """Make `learner.kind: fake` known in this process."""
    if all(info.name != "fake" for info in learners.LEARNERS):
        learners.LEARNERS = (*learners.LEARNERS, LearnerInfo("fake", "for tests", "fake"))


class Silent:
    """A listener that only remembers; a test can make it raise after so many rounds."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rounds: list[tuple[str, int, int]] = []
        self.stop_after = stop_after

    def work(self, what: str, done: int, total: int) -> None: ...

    def planned(self, runs: list[Any]) -> None: ...

    def skipped(self, run: Any, rounds: int) -> None: ...

    def recorded(self, run: Any, done: Any) -> None:
        self.rounds.append((run.name, run.seed, done.round))
        if self.stop_after is not None and len(self.rounds) >= self.stop_after:
            raise KeyboardInterrupt

"""scikit-activeml's strategies on given arrays, with as much done for them beforehand as their interface allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet, DropQuery, ProbCover, TypiClust, UncertaintySampling
from skactiveml.utils import MISSING_LABEL

from benchmarks.measure import Job


@dataclass(frozen=True)
class Peer:
    """at_most: images up to which it is run here; same: whether definitions agree, so that picks can be compared."""

    at_most: int
    same: bool


PEERS = {
    "uncertainty": Peer(50_000, True),
    "margin": Peer(50_000, True),
    "coreset": Peer(50_000, True),
    "typiclust": Peer(20_000, False),
    "badge": Peer(20_000, False),
    "dropquery": Peer(20_000, False),
    "probcover": Peer(5_000, False),
}


class Given(SkactivemlClassifier):  # type: ignore[misc]
    """Predicts what it was given: probabilities by row number, then one pass of dropout after the other."""

    def __init__(self, arrays: Any = None, **others: Any) -> None:
        super().__init__(**others)
        self.arrays, self.passes = arrays, 0

    def fit(self, X: Any, y: Any) -> Given:
        """Do nothing."""
        return self

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities and embeddings of rows whose number is the first feature."""
        rows = X[:, 0].astype(int)
        return self.arrays["probs"][rows], self.arrays["embeddings"][rows]

    def predict(self, X: Any) -> Any:
        """Return the classes of the candidates and their embeddings, then those of one pass after the other."""
        start, self.passes = len(self.arrays["probs"]) - len(X), self.passes + 1
        if self.passes == 1:
            return self.arrays["probs"][start:].argmax(axis=1), self.arrays["embeddings"][start:]
        return self.arrays["stochastic_probs"][self.passes - 2, start:].argmax(axis=1)


class Probabilities(Given):
    """Predicts probabilities alone."""

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of rows whose number is the first feature."""
        return super().predict_proba(X)[0]


def job(name: str, arrays: dict[str, Any], labelled: int, n: int) -> Job:
    """Return a job that asks the peer once. Embeddings are converted to float32 first, which is not timed."""
    count, classes = len(arrays["probs"]), arrays["probs"].shape[1]
    arrays = {**arrays, "embeddings": np.asarray(arrays["embeddings"], np.float32)}
    unit = arrays["embeddings"] / np.linalg.norm(arrays["embeddings"], axis=1, keepdims=True)
    y = np.full(count, MISSING_LABEL)
    y[:labelled] = np.arange(labelled) % classes
    rows = np.arange(count, dtype=float)[:, None]
    given = {"fit_clf": False, "batch_size": n}
    uncertain = {"uncertainty": "least_confident", "margin": "margin_sampling"}

    def ask() -> Any:
        if name in uncertain:
            clf = Probabilities(arrays, classes=list(range(classes)))
            return UncertaintySampling(method=uncertain[name], random_state=0).query(rows, y, clf, **given)
        clf = Given(arrays, classes=list(range(classes)))
        if name == "coreset":
            return CoreSet(random_state=0).query(arrays["embeddings"], y, batch_size=n)
        if name == "typiclust":
            return TypiClust(random_state=0, k=20).query(unit, y, batch_size=n)
        if name == "badge":
            return Badge(random_state=0).query(rows, y, clf, **given)
        if name == "dropquery":
            return DropQuery(random_state=0, n_dropout_samples=3).query(rows, y, clf, **given)
        return ProbCover(n_classes=classes, random_state=0).query(unit, y, batch_size=n)

    def calls() -> Iterator[list[int]]:
        yield [int(index) for index in ask()]

    return calls

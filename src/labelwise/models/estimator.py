"""People's own estimators: any scikit-learn classifier with `predict_proba`, by its import path."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels, Predictions, floored
from labelwise.config import Learner, Study, canonical, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.errors import InputError
from labelwise.models.frozen import calibration, converted, frozen, predicted, random_rows, timed
from labelwise.models.learner import Calibration, Dropout, FitCost, Preparation, dropped, inverse_frequency
from labelwise.models.making import first_line, made_of, maker, weight_parameter, with_seed
from labelwise.models.probe import pool_statistics
from labelwise.threads import one_thread

TIMED = (250, 1_000)
"""Labels of the fits that are timed for a plan; how their time grows between them is carried on."""
TOLERANCE = 1e-3
"""How far from 1 an estimator's probabilities may sum."""


@dataclass(frozen=True)
class Estimators:
    """The learner. features: (N, D) of the whole data set; make() -> a new estimator; path: where it comes from."""

    features: Floats
    pool: Indices
    classes: int
    path: str
    make: Callable[[], Any]
    key: str
    used: dict[str, str]
    preparation: Preparation
    frozen_embeddings: bool = True
    side_by_side: int = 1

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """The pool's mean (D,), which stands for a feature that dropout drops."""
        return pool_statistics(self.features, self.pool)[0]

    def pretrained(self, progress: Progress) -> tuple[Floats, Preparation]:
        """Return the embeddings that the estimators stand on; their cost is charged to every run already."""
        return self.features, Preparation()

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose nothing: the options are the study's, the same in every arm, row and seed."""
        return {}

    def fit(
        self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]
    ) -> FittedEstimator:
        """Fit a new estimator on all labels, in one thread. Errors: InputError where it cannot be fitted on these."""
        seen, codes = np.unique(labels, return_inverse=True)
        estimator, details = None, {}
        started = time.perf_counter()
        if len(seen) > 1:  # most classifiers refuse a single class; of one, all are
            weights = {}
            estimator = with_seed(self.make(), seed)
            if weighting == "inverse":
                balance = inverse_frequency(labels, self.classes)[labels]
                weights = {weight_parameter(estimator, self.path): balance}
            with self._said(f"fitted on {len(labels):,} labels"), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                with one_thread():
                    estimator.fit(rows_of(self.features, indices), codes, **weights)
            problems = [warning.message for warning in warned if issubclass(warning.category, UserWarning)]
            details = {"problem": first_line(str(problems[0]))} if problems else {}
            seen = seen[self._order(estimator, len(seen))]
        cost = FitCost(time.perf_counter() - started, 1)
        return FittedEstimator(self, estimator, seen.astype(np.int64), cost, len(indices), 0, details)

    def stop(self) -> None:
        """Do nothing: no fit goes on in another thread."""

    def _order(self, estimator: Any, count: int) -> Labels:
        """Return which of the seen classes each column of its probabilities is."""
        order = np.asarray(getattr(estimator, "classes_", []))
        if order.dtype.kind not in "iu" or sorted(order.tolist()) != list(range(count)):
            raise InputError(f"learner.estimator: {self.path} does not keep the classes it was fitted on in classes_")
        return order.astype(np.int64)

    def _said(self, what: str) -> _Said:
        return _Said(f"learner.estimator: {self.path} cannot be {what}")


class _Said:
    """A context in which an estimator's own errors become one line; those of the machine stay what they are."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, InputError | MemoryError | OSError):
            raise InputError(f"{self.what}: {type(error).__name__}: {first_line(str(error))}") from None


@dataclass(frozen=True)
class FittedEstimator:
    """A fitted estimator, None where only one class was seen. seen: (S,) the class of each column of its answer."""

    learner: Estimators
    estimator: Any
    seen: Labels
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Dropout | None = None) -> Predictions:
        """Return (n, K) probabilities over all classes, in chunks of bounded memory, and the frozen embeddings."""
        features = self.learner.features
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return predicted(
                indices,
                lambda part: self._probabilities(rows_of(features, part)),
                None if dropout is None else lambda part, start: self._dropped(part, dropout, start),
                features if embeddings else None,
            )

    def _dropped(self, indices: Indices, dropout: Dropout, start: int) -> Floats:
        """Drop out features, as the probe does: one that is dropped counts as its mean."""
        mean, centred = self.learner.mean, converted(self.learner.features, indices)
        centred -= mean
        return dropped(centred, dropout, start, lambda rows: self._probabilities(rows + mean))

    def _probabilities(self, rows: Floats) -> NDArray[np.float32]:
        """Return (n, K); classes that were not seen have probability 0, before the floor of all learners."""
        probs = np.zeros((len(rows), self.learner.classes))
        if self.estimator is None:
            probs[:, self.seen] = 1.0
        elif len(rows):
            with self.learner._said("asked for probabilities"):
                found = np.asarray(self.estimator.predict_proba(rows), np.float64)
            if found.shape != (len(rows), len(self.seen)):
                raise InputError(f"learner.estimator: {self.learner.path} gives probabilities of shape {found.shape}")
            total = found.sum(axis=1)
            if not (np.isfinite(found).all() and found.min() > -TOLERANCE and np.abs(total - 1).max() < TOLERANCE):
                raise InputError(f"learner.estimator: {self.learner.path} gives rows that are no probabilities")
            probs[:, self.seen] = found
        return floored(probs)


def rows_of(features: Floats, indices: Indices) -> Floats:
    """Return rows as the estimator gets them: as they are, but float16 as float32, which scikit-learn computes with."""
    if features.dtype == np.float16:
        return converted(features, indices)
    return np.asarray(features[indices])


def check(learner: Learner) -> None:
    """Import the estimator and make one with its options. Errors: InputError of one line."""
    maker(learner)


def build(dataset: Dataset, study: Study, progress: Progress) -> Estimators:
    """Import the estimator, take or make the embeddings, and return the learner. Errors: InputError."""
    learner = study.learner
    make = maker(learner)
    if any(arm.weighting == "inverse" for arm in study.arms):
        weight_parameter(make(), learner.estimator)
    found, code = frozen(dataset, study, progress), made_of(learner.estimator)
    options = canonical(learner.model_dump(mode="json")["options"])
    return Estimators(
        found.values, dataset.pool, len(dataset.classes), learner.estimator, make,
        key=digest("sklearn", *found.key, learner.estimator, options, code),
        used={"learner": learner.estimator, "options": options, "estimator from": code, **found.used},
        preparation=found.preparation,
    )  # fmt: skip


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Time the embedding of a few images, two fits and a score on random features."""
    rows, labels, once = random_rows(dataset, study, max(TIMED))
    everything = np.arange(len(rows))
    learner = Estimators(
        rows, everything, len(dataset.classes), study.learner.estimator, maker(study.learner), "", {}, Preparation()
    )
    fitted = learner.fit(everything[: TIMED[0]], labels[: TIMED[0]], "none", 0, {})  # loads what loads late
    times = [timed(lambda n=n: learner.fit(everything[:n], labels[:n], "none", 0, {})) for n in TIMED]  # type: ignore[misc]
    power = min(3.0, max(0.0, math.log(times[1] / times[0]) / math.log(TIMED[1] / TIMED[0])))
    per_image = timed(lambda: fitted.predict(everything)) / len(rows)
    return calibration(
        dataset, rows.shape[1], once, lambda n: times[1] * (n / TIMED[1]) ** power, lambda n: per_image * n
    )

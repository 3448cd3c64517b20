"""The linear probe: multinomial logistic regression on frozen embeddings, in seconds on a CPU."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from labelwise.arrays import Floats, Indices, Labels, Predictions, softmax
from labelwise.config import Study, digest
from labelwise.data.dataset import Dataset
from labelwise.data.images import Progress
from labelwise.models.frozen import CHUNK, calibration, converted, frozen, predicted, random_rows, timed
from labelwise.models.learner import Calibration, Dropout, FitCost, Preparation, dropped, inverse_frequency
from labelwise.seeds import generator, integer
from labelwise.threads import one_thread

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""What cross-validation chooses from: the L2 penalty p of `mean log loss + p/2 |w|^2`, scikit-learn's C = 1 / (p L).

Relative to the mean loss, so that a penalty chosen on the initial set still fits ten times as many labels.
"""
TUNING_LABELS = 2_000
FOLDS = 5
TOLERANCE = 1e-3
STEPS_AT_MOST = 1_000
STEPS = 30
"""Steps of the solver that real embeddings usually take (17 to 40 seen), and seconds that a round costs beside them:
both only for the plan's estimate."""
ROUND_SECONDS = 0.03


@dataclass(frozen=True)
class Probe:
    """The learner. features: (N, D) of the whole data set, of any float; mean, scale: (D,) float32 of the pool's."""

    features: Floats
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    classes: int
    key: str
    used: dict[str, str]
    preparation: Preparation
    penalty: float | None = None
    frozen_embeddings: bool = True
    side_by_side: int = 1

    def standardised(self, indices: Indices) -> NDArray[np.float32]:
        """Return the features at `indices`, standardised by the pool's mean and deviation: (n, D) float32."""
        rows = converted(self.features, indices)
        rows -= self.mean
        rows /= self.scale
        return rows

    def pretrained(self, progress: Progress) -> tuple[Floats, Preparation]:
        """Return the embeddings that the probe stands on; their cost is charged to every run already."""
        return self.features, Preparation()

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose the penalty by five-fold cross-validation of the log loss, on at most 2,000 initial labels.

        Nothing is chosen where the study gives one: the same for every arm, whatever it starts with.
        """
        if self.penalty is not None:
            return {"penalty": self.penalty, "penalty_chosen_by": "the study's configuration"}
        rng = generator(seed, "tune")
        if len(indices) > TUNING_LABELS:
            chosen = np.sort(rng.choice(len(indices), TUNING_LABELS, replace=False))
            indices, labels = indices[chosen], labels[chosen]
        folds = min(FOLDS, int(np.bincount(labels).max()))
        if folds < 2:
            return {"penalty": 0.1, "penalty_chosen_by": "default: no class has two labels"}
        rows, losses = self.standardised(indices), np.zeros(len(PENALTIES))
        with warnings.catch_warnings():  # classes with fewer images than folds are fine here
            warnings.simplefilter("ignore", UserWarning)
            splits = list(StratifiedKFold(folds, shuffle=True, random_state=integer(seed, "folds")).split(rows, labels))
        for train, held in splits:
            for i, penalty in enumerate(PENALTIES):
                weights, bias, _ = _regress(rows[train], labels[train], self.classes, penalty, None)
                probs = _probabilities(rows[held], weights, bias)
                losses[i] -= np.log(probs[np.arange(len(held)), labels[held]]).sum()
        return {
            "penalty": PENALTIES[int(losses.argmin())],
            "penalty_chosen_by": f"{folds}-fold log loss, {len(labels)} initial labels",
        }

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> FittedProbe:
        """Fit the regression on all labels (no validation set). `seed` is not used: the optimum is unique."""
        started = time.perf_counter()
        balance = None
        if weighting == "inverse":
            balance = inverse_frequency(labels, self.classes)[labels]
        weights, bias, steps = _regress(self.standardised(indices), labels, self.classes, tuned["penalty"], balance)
        # fold the standardisation in, so that a large pool is scored straight from its stored embeddings
        folded = weights / self.scale[:, None]
        cost = FitCost(time.perf_counter() - started, steps)
        details = {} if steps < STEPS_AT_MOST else {"problem": f"not converged in {STEPS_AT_MOST:,} steps"}
        return FittedProbe(self, folded, bias - self.mean @ folded, cost, len(indices), 0, details)

    def stop(self) -> None:
        """Do nothing: no fit goes on in another thread."""


@dataclass(frozen=True)
class FittedProbe:
    """A fitted probe. weights: (D, K), bias: (K,) float32, on raw embeddings."""

    learner: Probe
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Dropout | None = None) -> Predictions:
        """Return (n, K) probabilities over all classes, in chunks of bounded memory, and the frozen embeddings."""
        features = self.learner.features
        rows = np.empty((min(CHUNK, len(indices)), features.shape[1]), np.float32)
        return predicted(
            indices,
            lambda part: _probabilities(converted(features, part, rows), self.weights, self.bias),
            None if dropout is None else lambda part, start: self._dropped(part, dropout, start),
            features if embeddings else None,
        )

    def _dropped(self, indices: Indices, dropout: Dropout, start: int) -> Floats:
        """Drop out standardised features: a feature that is dropped counts as its mean."""
        mean, bias = self.learner.mean, self.bias + self.learner.mean @ self.weights
        centred = converted(self.learner.features, indices)
        centred -= mean
        return dropped(centred, dropout, start, lambda rows: _probabilities(rows, self.weights, bias))


def _regress(
    rows: NDArray[np.float32], labels: Labels, classes: int, penalty: float, balance: Floats | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Return weights (D, K), bias (K,) and the solver's steps; classes not seen get a bias that the floor replaces."""
    weights = np.zeros((rows.shape[1], classes), np.float32)
    bias = np.full(classes, -100.0, np.float32)
    seen = np.unique(labels)
    if len(seen) == 1:
        bias[seen] = 0.0
        return weights, bias, 0
    # for two classes scikit-learn penalises the difference w of their weights: the same model is -w/2, w/2 at half of p
    two = len(seen) == 2
    model = LogisticRegression(C=(2 if two else 1) / (penalty * len(labels)), tol=TOLERANCE, max_iter=STEPS_AT_MOST)
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore", UserWarning)  # nearly as many classes as labels; too few steps (recorded)
        model.fit(rows, labels, sample_weight=balance)
    if two:
        weights[:, seen] = np.outer(model.coef_[0], (-0.5, 0.5))
        bias[seen] = model.intercept_[0] * np.array((-0.5, 0.5))
    else:
        weights[:, seen], bias[seen] = model.coef_.T, model.intercept_
    return weights, bias, int(model.n_iter_[0])


def _probabilities(
    rows: NDArray[np.float32], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    return softmax(rows @ weights + bias)


def pool_statistics(features: Floats, pool: Indices) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation (D,) over the pool's rows, in chunks; constant features get deviation 1.

    Constant: below 1e-6 in float16, as backbones give; in others below the rounding of float32, whatever their scale.
    """
    total = np.zeros(features.shape[1])
    squares = np.zeros(features.shape[1])
    shift = features[pool[0]].astype(np.float64)  # of the order of the mean: no cancellation in the variance
    for start in range(0, len(pool), CHUNK):
        part = pool[start : start + CHUNK]
        rows = (converted(features, part) if features.dtype == np.float16 else features[part]) - shift
        total += rows.sum(axis=0)
        squares += np.einsum("ij,ij->j", rows, rows)
    mean = total / len(pool)
    deviation = np.sqrt(np.maximum(squares / len(pool) - mean**2, 0))
    mean += shift
    rounding = 1e-6 if features.dtype == np.float16 else np.finfo(np.float32).eps * np.abs(mean)
    deviation[deviation <= rounding] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


def build(dataset: Dataset, study: Study, progress: Progress) -> Probe:
    """Take the data set's own features, or embed its images with the backbone, and return the learner."""
    found = frozen(dataset, study, progress)
    mean, scale = pool_statistics(found.values, dataset.pool)
    return Probe(
        found.values, mean, scale, len(dataset.classes),
        key=digest(
            "probe", *found.key, *([] if study.learner.penalty is None else [f"penalty {study.learner.penalty!r}"])
        ),
        used={"learner": "linear probe (multinomial logistic regression on frozen embeddings)", **found.used},
        preparation=found.preparation, penalty=study.learner.penalty,
    )  # fmt: skip


def calibrate(dataset: Dataset, study: Study) -> Calibration:
    """Time the embedding of a few images, and fits and scores on random features: a few seconds."""
    size = 4_000
    rows, labels, once = random_rows(dataset, study, size)
    probe = Probe(
        rows, np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32), len(dataset.classes), "", {},
        Preparation(),
    )  # fmt: skip
    probe.fit(np.arange(size), labels, "none", 0, {"penalty": 0.03})  # loads what loads late
    fitted = probe.fit(np.arange(size), labels, "none", 0, {"penalty": 0.03})
    per_label = STEPS * fitted.cost.seconds / (fitted.cost.epochs * size)
    per_image = timed(lambda: fitted.predict(np.arange(size))) / size
    return calibration(dataset, rows.shape[1], once, lambda n: ROUND_SECONDS + per_label * n, lambda n: per_image * n)

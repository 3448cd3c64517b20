"""What a learner is: `fit` on labelled images, then `predict` any images. The loop knows nothing more of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from labelwise.arrays import Indices, Labels, Predictions


@dataclass(frozen=True)
class FitCost:
    """What a fit cost. epochs: passes over the labelled set; images: forward and backward passes of the backbone."""

    seconds: float
    epochs: int
    images_forward: int = 0
    images_backward: int = 0


class Fitted(Protocol):
    """A trained model, a dataclass: all but its learner can be sent to another process.

    labels_train + labels_val is the number of labels it was given.
    """

    learner: Any
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    def predict(self, indices: Indices, embeddings: bool = False) -> Predictions:
        """Return class probabilities for the images at `indices`, and the model's embeddings of them if asked for."""
        ...


@dataclass(frozen=True)
class Preparation:
    """What was computed once before the first fit; every run is charged all of it in its first round."""

    seconds_score: float = 0.0
    seconds_evaluate: float = 0.0
    images_forward: int = 0


class Learner(Protocol):
    """Trains models. Equal arguments give equal models; `key` stands for everything else that a fit depends on."""

    key: str
    used: dict[str, str]
    preparation: Preparation
    frozen_embeddings: bool

    def tune(self, indices: Indices, labels: Labels, seed: int) -> dict[str, Any]:
        """Choose what the study tunes once a row and seed on the initial set; the result goes into every fit."""
        ...

    def fit(self, indices: Indices, labels: Labels, weighting: str, seed: int, tuned: dict[str, Any]) -> Fitted:
        """Train on the labelled set. indices: (L,) sorted dataset indices; labels: (L,); weighting: none, inverse."""
        ...


@dataclass(frozen=True)
class Calibration:
    """How fast a learner is here. once: seconds before the first run; forward_once: images embedded for each run;

    fit, score: seconds of one worker as a function of labels and of images; forward, backward: the backbone's passes
    in a fit, as a function of its labels; forward_scored: its passes for each image that is scored; features: D.
    """

    once: float
    forward_once: int
    fit: Callable[[int], float]
    score: Callable[[int], float]
    forward: Callable[[int], int]
    backward: Callable[[int], int]
    forward_scored: int
    features: int
    frozen_embeddings: bool


@dataclass(frozen=True)
class LearnerInfo:
    """One row of LEARNERS. module: has `build` and `calibrate` and is imported only when it is used."""

    name: str
    summary: str
    module: str

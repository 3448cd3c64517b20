"""Annotators that err: answers by a given error rate, a confusion matrix or a file of people's labels.

An answer depends on the seed, the image and which of the overlapping answers it is, on nothing else: every arm of a
seed gets the same one, and so does a run that goes on. Error rates are paired too: an answer that is
wrong at 10 % is wrong at 20 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices, Labels
from labelwise.labelers import LabelEvents
from labelwise.seeds import generator


@dataclass(frozen=True)
class Annotators:
    """Answer with the majority of so many `answers`. labels: (N,) classes by dataset index, -1 where there is none."""

    labels: Labels
    answers: int

    def label(self, indices: Indices) -> LabelEvents:
        """Return the majority's labels. Errors: ValueError for an image that nobody answers for."""
        labels = self.labels[indices]
        if (labels < 0).any():
            raise ValueError("nobody answers for an image outside the pool")
        return LabelEvents(indices, labels, "annotator")


def majority(answers: NDArray[np.int64]) -> Labels:
    """Return the most frequent of (k, N) answers for each image: (N,). Ties go to the answer that came first."""
    winner = np.stack([(answers == answer).sum(axis=0) for answer in answers]).argmax(axis=0)
    return np.asarray(answers[winner, np.arange(answers.shape[1])], dtype=np.int64)


def with_errors(truth: Labels, classes: int, rate: float, overlap: int, seed: int) -> Labels:
    """Return (N,) answers that are wrong with probability `rate`, uniformly over the other classes."""
    answers = []
    for chance, place in _chances(len(truth), overlap, seed):
        other = (truth + 1 + np.floor(place * (classes - 1)).astype(np.int64)) % classes
        answers.append(np.where(chance < rate, other, truth))
    return majority(np.stack(answers))


def with_confusion(truth: Labels, matrix: Floats, overlap: int, seed: int) -> Labels:
    """Return (N,) answers drawn by a (K, K) matrix: a row a true class, a column an answer, rows sum to 1."""
    ends = np.cumsum(np.asarray(matrix, dtype=np.float64), axis=1)
    ends /= ends[:, -1:]
    answers = [_drawn(ends, truth, chance) for chance, _ in _chances(len(truth), overlap, seed)]
    return majority(np.minimum(np.stack(answers), len(ends) - 1))


def _drawn(ends: Floats, truth: Labels, chance: Floats) -> Labels:
    """Draw an answer an image, a class at a time, so that nothing of size N x K is built."""
    found = np.empty(len(truth), np.int64)
    for k in np.unique(truth):
        found[truth == k] = np.searchsorted(ends[k], chance[truth == k], side="right")
    return found


def of_people(columns: NDArray[np.int64], overlap: int, seed: int) -> Labels:
    """Return (N,) answers out of (A, N) answers of A people: for each image, `overlap` of them drawn by the seed."""
    people, images = columns.shape
    order = np.argsort(generator(seed, "annotator", "people").random((images, people)), axis=1).T[:overlap]
    return majority(np.take_along_axis(columns, order, axis=0))


def _chances(images: int, overlap: int, seed: int) -> list[tuple[Floats, Floats]]:
    """Return, for each overlapping answer, two (N,) uniform numbers an image: whether it is wrong, and how."""
    draws = [generator(seed, "annotator", number).random((images, 2)) for number in range(overlap)]
    return [(draw[:, 0], draw[:, 1]) for draw in draws]

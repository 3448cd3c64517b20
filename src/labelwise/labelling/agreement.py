"""How well people agree: with each other, and each with themselves."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwise.labelling.board import Board

LATER = ("repeat", "check", "review", "again")
"""Purposes of answers that are no first opinion."""


def agreement(board: Board) -> dict[str, Any] | None:
    """Return kappas over the images that several people labelled, or None where there are none.

    cohen: Cohen's (1960) for two people, the mean over pairs for more, pairs without 2 common images left out; fleiss:
    Fleiss' (1971) over images with equally many labels (the most common number), from three people on.
    """
    said = {image: _labels(board, image) for image in board.stacks}
    common = {image: labels for image, labels in said.items() if len(labels) > 1}
    if not common:
        return None
    from sklearn.metrics import cohen_kappa_score

    people = sorted({name for labels in common.values() for name in labels})
    kappas = []
    for one, other in combinations(people, 2):
        both = [labels for labels in common.values() if one in labels and other in labels]
        first, second = [labels[one] for labels in both], [labels[other] for labels in both]
        if len(both) > 1 and len({*first, *second}) > 1:  # with a single class, kappa is 0 / 0
            kappas.append(float(cohen_kappa_score(first, second)))
    raters = Counter(len(labels) for labels in common.values()).most_common(1)[0][0]
    table = [Counter(labels.values()) for labels in common.values() if len(labels) == raters]
    counts = np.array([[row[klass] for klass in board.classes] for row in table], np.int64)
    fleiss = fleiss_kappa(counts) if raters > 2 else None
    return {"cohen": float(np.mean(kappas)) if kappas else None, "fleiss": fleiss, "images": len(common)}


def fleiss_kappa(counts: NDArray[np.int64]) -> float | None:
    """Return Fleiss' kappa of (images, classes) counts of labels, equally many an image; None where it is 0 / 0."""
    raters = counts.sum(axis=1)[0]
    observed = ((counts**2).sum(axis=1) - raters).mean() / (raters * (raters - 1))
    expected = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return None if expected == 1 else float((observed - expected) / (1 - expected))


def consistency(board: Board, annotator: str) -> dict[str, int] | None:
    """Return how often a person said the same of an image again, blind; None where they were not asked."""
    asked = same = 0
    for image in {e.image for e in board.kept() if e.purpose == "repeat" and e.image}:
        first = _labels(board, image)
        event = board.answers(image, repeats=True).get(annotator)
        if event is not None and annotator in first and event.klass is not None:
            asked += 1
            same += board.resolved(event.klass) == first[annotator]
    return {"asked": asked, "same": same} if asked else None


def _labels(board: Board, image: int) -> dict[str, int]:
    """Return what people said of an image by themselves: the last label before they saw others' or a model's doubts."""
    found = {}
    for name, stack in board.stacks.get(image, {}).items():
        own = [e for e in stack if e.purpose not in LATER]
        if own and own[-1].klass is not None:
            found[name] = board.resolved(own[-1].klass)
    return found

"""Labelers: who answers when the loop asks for labels, and where each answer came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from labelwise.arrays import Indices, Labels


@dataclass(frozen=True)
class LabelEvents:
    """Answers to one acquisition batch, possibly only some of it.

    indices: (n,) dataset indices; labels: (n,) classes 0..K-1; source: truth, annotator, zero-shot or person.
    """

    indices: Indices
    labels: Labels
    source: str


class Labeler(Protocol):
    """Answers for images, at once (a simulation) or late and in part (people)."""

    def label(self, indices: Indices) -> LabelEvents:
        """Return labels for the images at `indices`."""
        ...


@dataclass(frozen=True)
class Oracle:
    """Simulated: answers with the true label. truth: (N,) classes by dataset index."""

    truth: Labels

    def label(self, indices: Indices) -> LabelEvents:
        """Return the true labels."""
        return LabelEvents(indices, self.truth[indices], "truth")

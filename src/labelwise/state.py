"""The state of a run: what has been labelled, in the order of the answers. It is rebuilt from the records."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Indices, Labels
from labelwise.labelers import LabelEvents


@dataclass(frozen=True)
class State:
    """What has been labelled so far, in the order of the answers. indices, labels, rounds: (L,); sources: L names."""

    indices: Indices
    labels: Labels
    rounds: NDArray[np.int64]
    sources: tuple[str, ...]

    @property
    def round(self) -> int:
        """The round that this labelled set is trained in: 0 for the initial set."""
        return int(self.rounds[-1])


EMPTY = State(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), ())


def advance(state: State, events: LabelEvents) -> State:
    """Take answers into the labelled set. Errors: ValueError for an image that is labelled already."""
    if np.isin(events.indices, state.indices).any() or len(np.unique(events.indices)) < len(events.indices):
        raise ValueError("an image was labelled twice")
    next_round = state.round + 1 if len(state.indices) else 0
    return replace(
        state,
        indices=np.concatenate([state.indices, events.indices]),
        labels=np.concatenate([state.labels, events.labels]),
        rounds=np.concatenate([state.rounds, np.full(len(events.indices), next_round)]),
        sources=(*state.sources, *[events.source] * len(events.indices)),
    )

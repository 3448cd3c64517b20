"""What a row of the table of strategies says, and how a strategy is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwise.arrays import Floats, Indices

NEEDS = ("probs", "embeddings", "stochastic_probs")
"""What a strategy can ask for beside `candidates`: arrays over the whole data set, by dataset index."""


@dataclass(frozen=True)
class Ask:
    """One question to a strategy: which n of the candidates next?

    candidates: (M,) unlabelled dataset indices in random order, so that ties fall by the seed; n <= M;
    labelled: (L,) dataset indices; classes: K, or 0 where it is not known; probs: (N, K); embeddings: (N, D);
    stochastic_probs: (T, N, K). Rows that are neither candidates nor labelled may hold anything. rng: this round's
    generator; fixed_rng(): the same generator in every round, for what is computed from the embeddings alone;
    once(what, make): `make()`, kept under that name as long as the embeddings stay what they are.
    """

    candidates: Indices
    n: int
    rng: np.random.Generator
    labelled: Indices
    classes: int
    fixed_rng: Callable[[], np.random.Generator]
    once: Callable[[str, Callable[[], Any]], Any]
    probs: Floats | None = None
    embeddings: Floats | None = None
    stochastic_probs: Floats | None = None


@dataclass(frozen=True)
class Picks:
    """A strategy's answer. indices: (n,) dataset indices, best first; scores: (n,) what they were picked for."""

    indices: Indices
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Strategy:
    """One row of STRATEGIES. `select(ask, **options) -> Picks`; its keyword defaults are the strategy's options.

    embeddings: whose it looks at by default, the current model's or the pretrained backbone's (a further option);
    dropout: passes and rate of the stochastic predictions that it needs.
    """

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    select: Callable[..., Picks]
    embeddings: Literal["current", "pretrained"] = "current"
    dropout: tuple[int, float] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of the strategy's options."""
        parameters = list(inspect.signature(self.select).parameters.values())[1:]
        own = {parameter.name: parameter.default for parameter in parameters}
        return {**own, "embeddings": self.embeddings} if "embeddings" in self.needs else own


def top(ask: Ask, scores: Floats) -> Picks:
    """Pick the n candidates with the highest scores, (M,) in the candidates' order; ties fall by that order."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")[: ask.n]
    return Picks(ask.candidates[order], np.asarray(scores, dtype=np.float64)[order])

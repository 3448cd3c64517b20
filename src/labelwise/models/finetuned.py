"""A fine-tuned model: what a fit gives, and how it scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.arrays import Indices, Predictions, softmax
from labelwise.models.backbone import torch_threads
from labelwise.models.learner import Dropout, FitCost
from labelwise.models.scoring import Scores, stochastic

if TYPE_CHECKING:
    from labelwise.models.classifier import Classifier
    from labelwise.models.finetune import FineTune

FLOAT16 = 65_504.0
"""The largest float16: no embedding is infinite."""
SCORING_BATCH = {"cpu": 128, "mps": 512}
"""Images that a model of its own scores at once."""


@dataclass(frozen=True)
class FittedFineTune:
    """A fine-tuned model. state: its weights by name, with which it can be sent to another process."""

    learner: FineTune
    state: dict[str, NDArray[Any]]
    cost: FitCost
    labels_train: int
    labels_val: int
    details: dict[str, Any]

    @cached_property
    def module(self) -> Classifier:
        """The model to score with, made once."""
        module = self.learner.scoring_module(self.state)
        if self.learner.recipe.scoring == "bfloat16":
            module.backbone.to(torch.bfloat16)
        return module

    def predict(self, indices: Indices, embeddings: bool = False, dropout: Dropout | None = None) -> Predictions:
        """Return (n, K) probabilities and, if asked for, the model's own embeddings (N, D) float16, filled there."""
        learner = self.learner
        logits = np.empty((len(indices), learner.classes), np.float32)
        rows = np.zeros((len(learner.pixels), learner.backbone.features), np.float16) if embeddings else None
        passes = []
        with self._scoring() as (scores, size):
            started = time.perf_counter()  # without the wait for others' turns
            for start in range(0, len(indices), size):
                part = indices[start : start + size]
                features, found = scores(part)
                logits[start : start + size] = found.cpu().numpy()
                if rows is not None:
                    rows[part] = features.clamp(-FLOAT16, FLOAT16).half().cpu().numpy()
                if dropout is not None:
                    passes.append(stochastic(features, dropout, start, self.state))
        together = np.concatenate(passes, axis=1) if passes else None
        seconds = time.perf_counter() - started
        return Predictions(indices, softmax(logits), rows, together, seconds, len(indices))

    @contextmanager
    def _scoring(self) -> Iterator[tuple[Scores, int]]:
        """Give what scores with this fit's weights, and how many images at once at most."""
        if (scorer := self.learner.scorer) is not None:
            with scorer.using(self.state) as scores:
                yield scores, scorer.batch
            return
        narrow = self.learner.recipe.scoring == "bfloat16"

        def scores_of(part: Indices) -> tuple[torch.Tensor, torch.Tensor]:
            inputs = self.learner.inputs(part)
            features = self.module.embed(inputs.to(torch.bfloat16) if narrow else inputs)
            return features, self.module.head(features)

        with torch.inference_mode(), torch_threads(1):
            yield scores_of, SCORING_BATCH[self.learner.backbone.device.type]

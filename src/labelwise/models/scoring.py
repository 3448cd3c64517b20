"""Scoring with fine-tuned weights: on a CPU a faster copy of the model a fit, on a GPU one copy for all fits.

A GPU takes all images in batches of one size, so that the way from stored pixels to logits is one CUDA graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from labelwise.arrays import Floats, softmax
from labelwise.models.graphs import Captured, device_errors, on, own_stream
from labelwise.models.learner import Dropout, dropped
from labelwise.models.places import DeviceImages, sent
from labelwise.models.unpacked import Unpacked
from labelwise.seeds import integer

BATCH = 4_096
"""Images of 32x32 pixels that a GPU scores at once; fewer of larger ones."""

Scores = Callable[[NDArray[np.int64]], tuple[torch.Tensor, torch.Tensor]]
"""Dataset indices (n,) -> embeddings (n, D) and logits (n, K), float32 on the device; n is at most the batch."""


class Scorer:
    """Scores with any fit's weights, one fit at a time, on a stream of its own. model: a Classifier on the device."""

    def __init__(self, model: Any, source: DeviceImages) -> None:
        pixels = source.pixels.shape[1] * source.pixels.shape[2]
        self.batch = int(np.clip(BATCH * 32 * 32 // pixels, 16, BATCH))
        self.source, self.stream, self._lock = source, own_stream(source.device), threading.Lock()
        self.features: torch.Tensor
        self.logits: torch.Tensor
        with on(self.stream), torch.inference_mode():
            self.model = Unpacked(model)
            self.model.set_mode("score")
            self.buffer = source.buffer(self.batch)
            self.rows = torch.zeros(self.batch, dtype=torch.int64, device=source.device)
            self._compute()
            self._step = Captured(self._compute, source.device)

    @contextmanager
    def using(self, state: dict[str, NDArray[Any]]) -> Iterator[Scores]:
        """Load a fit's weights, and give what scores with them until the context ends."""
        with self._lock, on(self.stream), torch.inference_mode(), device_errors():
            for flat in (self.model.weights, self.model.statistics):
                if flat.layout.names:
                    row = np.concatenate([np.ravel(state[name]) for name in flat.layout.names])
                    flat.values[0].copy_(sent(row, self.source.device))
            yield self._scores

    def _scores(self, indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(indices)
        padded = np.resize(indices, self.batch)  # a batch of another size could have other bits
        self.rows.copy_(sent(self.source.bring(self.buffer, padded), self.source.device), non_blocking=True)
        self._step()
        return self.features[:count], self.logits[:count]

    def _compute(self) -> None:
        pixels = self.buffer.index_select(0, self.rows)
        self.features = self.model.embed(self.source.scale(pixels), self.source.precision)
        self.logits = self.model.model.head(self.features)


def stochastic(features: torch.Tensor, dropout: Dropout, start: int, state: dict[str, NDArray[Any]]) -> Floats:
    """Return (T, n, K) probabilities of embeddings (n, D) with dropout. start: what stands for them in the draws.

    On a GPU the masks are drawn there, from torch's generator of the same name.
    """
    weight, bias = state["head.weight"], state["head.bias"]
    if features.device.type == "cpu":
        return dropped(features.numpy(), dropout, start, lambda rows: softmax(rows @ weight.T + bias))
    rng = torch.Generator(features.device).manual_seed(integer(dropout.seed, "dropout", start))
    own_weight, own_bias = (torch.from_numpy(value).to(features.device) for value in (weight, bias))
    passes = []
    for _ in range(dropout.passes):
        kept = torch.rand(features.shape, generator=rng, device=features.device) >= dropout.rate
        logits = torch.addmm(own_bias, features * kept / (1 - dropout.rate), own_weight.t())
        passes.append(torch.softmax(logits, dim=1))
    return torch.stack(passes).cpu().numpy()

"""A pack's places on a device: K in which fits are trained, and fewer in which their weights are validated.

A step has the same shape whatever fits are in the places, so on a GPU it is captured once as a CUDA graph and then only
replayed. A place that is empty computes too, and nobody looks at it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from labelwise.config import Learner
from labelwise.models.augment import Scale
from labelwise.models.course import PADDING, STATISTICS_BATCH, VALIDATION_BATCH
from labelwise.models.graphs import Captured
from labelwise.models.layout import Flat
from labelwise.models.optimizers import adam, adam_rates, sgd

AHEAD = 3
"""Steps whose images are in memory, waiting for the device, where it does not hold them all."""

Precision = Callable[[torch.device], AbstractContextManager[Any]]


@dataclass(frozen=True)
class DeviceImages:
    """Where images come from. pixels: (N, H, W, 3) uint8; kept: the same on the device, where they fit; classes: C."""

    pixels: NDArray[np.uint8]
    kept: torch.Tensor | None
    scale: Scale
    precision: Precision
    classes: int
    device: torch.device

    def buffer(self, count: int) -> torch.Tensor:
        """Return what a step of `count` images reads: all that are kept, or buffer for those that are brought."""
        if self.kept is not None:
            return self.kept
        return torch.zeros((count, *self.pixels.shape[1:]), dtype=torch.uint8, device=self.device)

    def wait(self) -> None:
        """Wait until the device has done what was started."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def bring(self, buffer: torch.Tensor, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Have the images at these dataset rows in `buffer`; return their places there, in the shape of `rows`."""
        if self.kept is not None:
            return rows
        buffer[: rows.size].copy_(sent(self.pixels[rows.ravel()], self.device), non_blocking=True)
        return np.arange(rows.size).reshape(rows.shape)


def sent(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array on a device, without waiting for what the device is doing."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def cut(buffer: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Crop and flip as drawn: (B, H, W, K, 3) uint8 of order (4, K, B), rows, top, left and flipped; black outside."""
    height, width = buffer.shape[1:3]
    rows, top, left, flipped = (values.t()[:, None, None] for values in order)  # (B, 1, 1, K)
    across = torch.arange(width, device=buffer.device).view(1, 1, -1, 1)
    y = top + torch.arange(height, device=buffer.device).view(1, -1, 1, 1) - PADDING
    x = left + torch.where(flipped > 0, width - 1 - across, across) - PADDING
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = (rows * height + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)
    pixels = buffer.view(-1, 3).index_select(0, at.flatten()).view(*at.shape, 3)
    return torch.mul(pixels, inside[..., None])


def packed_inputs(pixels: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Turn (B, H, W, K, 3) uint8 into the pack's inputs (B, K * 3, H, W), channels-last, in the backbone's scale."""
    scaled = torch.addcmul(scale.shift, pixels.to(scale.factor.dtype), scale.factor)
    return scaled.flatten(3).permute(0, 3, 1, 2)


class Trainer:
    """K places in which fits are trained. model: a Pack, its weights followed by an optimizer's moments."""

    def __init__(self, model: Any, source: DeviceImages, recipe: Learner) -> None:
        self.model, self.source, self.recipe = model, source, recipe
        self.numbers: Flat = model.weights
        self.grads = torch.zeros_like(self.numbers.values[0])
        count, device = model.count, source.device
        self.buffer = source.buffer(count * recipe.batch)
        self.order = torch.zeros((5, count, recipe.batch), dtype=torch.int64, device=device)
        self.rates = torch.zeros((count, 2), device=device)
        self.balance = torch.ones((count, source.classes), device=device)
        self._step = Captured(self._compute, device)

    @property
    def failures(self) -> list[str]:
        """Why steps are not replayed as a graph but computed one by one; "" where they are, and on a CPU."""
        return [self._step.failure]

    def put(self, place: int, numbers: torch.Tensor, balance: torch.Tensor) -> None:
        """Put a fit into a place. numbers: (copies, P) its weights and moments; balance: (classes,)."""
        self.numbers.write(place, numbers)
        self.balance[place] = balance

    def steps(self, order: NDArray[np.int64], rates: NDArray[np.float32]) -> None:
        """Do s steps. order: (s, 5, K, B) dataset rows, top, left, flipped, label; rates: (s, K, 2), see `adam`."""
        if self.source.kept is not None:
            orders = sent(order, self.source.device)
        all_rates = sent(rates, self.source.device)
        for step in range(len(order)):
            if self.source.kept is None:
                order[step, 0] = self.source.bring(self.buffer, order[step, 0])
                self.order.copy_(sent(order[step], self.source.device), non_blocking=True)
            else:
                self.order.copy_(orders[step])
            self.rates.copy_(all_rates[step])
            self._step()
            if self.source.kept is None and step % AHEAD == 0:
                self.source.wait()

    def _compute(self) -> None:
        inputs = packed_inputs(cut(self.buffer, self.order[:4]), self.source.scale)
        logits = self.model(inputs, self.source.precision)
        labels = self.order[4]
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        weights = self.balance.gather(1, labels)
        loss = ((losses * weights).sum(1) / weights.sum(1)).sum()
        leaves = list(self.model.leaves.values())
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        torch.cat([gradient.reshape(-1) for gradient in found], out=self.grads)
        numbers, place = self.numbers.values, self.numbers.place
        if self.recipe.optimizer == "sgd":
            sgd(numbers[0], self.grads, numbers[1], place, self.rates[:, 0].contiguous())
        else:
            adam(numbers[0], self.grads, numbers[1], numbers[2], place, self.rates, self.model.way)

    def rate(self, rate: float, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what a fit's steps (s,), counted from 1, are updated by: (s, 2)."""
        if self.recipe.optimizer == "sgd":
            return np.full((len(steps), 2), rate, np.float32)
        return adam_rates(torch.full((len(steps),), rate), torch.from_numpy(steps)).numpy()


class Checker:
    """Places in which weights get their batch-norm statistics and their validation loss."""

    def __init__(self, model: Any, source: DeviceImages) -> None:
        self.model, self.source = model, source
        count, device = model.count, source.device
        self.statistics: Flat = model.statistics
        self.collects = len(self.statistics.layout.names) > 0
        self.buffer = source.buffer(count * max(STATISTICS_BATCH, VALIDATION_BATCH))
        self.rows = torch.zeros((count, STATISTICS_BATCH), dtype=torch.int64, device=device)
        self.labels = torch.zeros((2, count, VALIDATION_BATCH), dtype=torch.int64, device=device)
        self.weights = torch.zeros((count, VALIDATION_BATCH), device=device)
        self.counted = torch.zeros(count, device=device)
        self.total = torch.zeros_like(self.statistics.values[0])
        self.sums = torch.zeros((2, count), dtype=torch.float64, device=device)
        model.set_mode("collect")
        self._collect = Captured(self._compute_statistics, device) if self.collects else None
        model.set_mode("score")
        self._score = Captured(self._compute_loss, device)

    @property
    def failures(self) -> list[str]:
        """The same of validations."""
        return [step.failure for step in (self._collect, self._score) if step is not None]

    def start(self, values: list[torch.Tensor]) -> None:
        """Begin with the weights (P,) of as many fits as there are, or fewer."""
        for place, row in enumerate(values):
            self.model.weights.write(place, row[None])
        self.total.zero_()
        self.sums.zero_()

    def collect(self, samples: list[NDArray[np.int64]]) -> None:
        """Set the statistics of each fit to the mean over the batches of its sample, dataset rows."""
        if self._collect is None:
            return
        self.model.set_mode("collect")
        batches = [sample.reshape(-1, STATISTICS_BATCH) for sample in samples]
        for number in range(max(map(len, batches))):
            rows = np.zeros((self.model.count, STATISTICS_BATCH), np.int64)
            counted = np.zeros(self.model.count, np.float32)
            for place, found in enumerate(batches):
                if number < len(found):
                    rows[place], counted[place] = found[number], 1 / len(found)
            self.rows.copy_(sent(self._brought(rows), self.source.device), non_blocking=True)
            self.counted.copy_(sent(counted, self.source.device), non_blocking=True)
            self._collect()
        self.statistics.values[0].copy_(self.total)

    def score(self, parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]) -> torch.Tensor:
        """Return the sums of losses and of weights (2, E) float64. parts: rows, labels, and weights (classes,)."""
        self.model.set_mode("score")
        size = VALIDATION_BATCH
        for start in range(0, max(len(rows) for rows, _, _ in parts), size):
            found = np.zeros((2, self.model.count, size), np.int64)
            weights = np.zeros((self.model.count, size), np.float32)
            for place, (rows, labels, balance) in enumerate(parts):
                few = rows[start : start + size], labels[start : start + size]
                found[:, place, : len(few[0])] = few
                weights[place, : len(few[0])] = balance[few[1]]
            found[0] = self._brought(found[0])
            self.labels.copy_(sent(found, self.source.device), non_blocking=True)
            self.weights.copy_(sent(weights, self.source.device), non_blocking=True)
            self._score()
        return self.sums

    def _brought(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.source.bring(self.buffer, rows)

    def _inputs(self, rows: torch.Tensor) -> torch.Tensor:
        pixels = self.buffer.index_select(0, rows.t().flatten()).view(*rows.t().shape, *self.buffer.shape[1:])
        return packed_inputs(pixels.permute(0, 2, 3, 1, 4), self.source.scale).contiguous(
            memory_format=torch.channels_last
        )

    def _compute_statistics(self) -> None:
        statistics, place = self.statistics.values[0], self.statistics.place
        statistics.zero_()  # what is left of weights that diverged must not reach the next ones
        with torch.no_grad():
            self.model.embed(self._inputs(self.rows), self.source.precision)
        shares = self.counted.index_select(0, place.int())
        self.total.add_(torch.where(shares > 0, statistics * shares, 0))

    def _compute_loss(self) -> None:
        rows, labels = self.labels
        with torch.no_grad():
            logits = self.model(self._inputs(rows), self.source.precision)
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        weighted = torch.where(self.weights > 0, losses * self.weights, 0).double()
        self.sums.add_(torch.stack([weighted.sum(1), self.weights.double().sum(1)]))

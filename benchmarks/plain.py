"""The study's protocol as one would write it in plain PyTorch: timm, torchvision, a DataLoader, Adam as it comes.

Nothing of labelwise is used or set here. Every pass that the protocol asks for is made: training in batches of one
size, batch-norm statistics from training images before a validation, early stopping on the validation loss, the best
weights kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset, Sampler, Subset
from torchvision.transforms import v2

LR, BATCH, SCORING_BATCH, PADDING = 1e-3, 32, 256, 4
CHECK_STEPS, STATISTICS_IMAGES, STATISTICS_BATCH = 12, 512, 128
PATIENCE, FACTOR, PLATEAU = 10, 0.3, 3


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, transformed one by one. pixels: (N, H, W, 3) uint8; labels: (N,)."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], transform: Callable[..., Any]) -> None:
        self.pixels, self.labels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[index]), self.labels[index]


class WholeBatches(Sampler[list[int]]):
    """Draws batches of exactly `batch` images: a new shuffle follows the last one, in the middle of a batch too."""

    def __init__(self, images: int, batch: int, steps: int) -> None:
        self.images, self.batch, self.steps = images, batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        waiting: list[int] = []
        for _ in range(self.steps):
            while len(waiting) < self.batch:
                waiting += torch.randperm(self.images).tolist()
            yield waiting[: self.batch]
            waiting = waiting[self.batch :]


@dataclass
class Counts:
    """What a fit did: images through the network, forward and backward."""

    forward: int = 0
    backward: int = 0


def transforms(model: nn.Module, size: int) -> tuple[v2.Compose, v2.Compose]:
    """Return what training and what scoring do to an image."""
    config = timm.data.resolve_data_config({}, model=model)
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(config["mean"], config["std"])]
    return v2.Compose([v2.RandomCrop(size, padding=PADDING), v2.RandomHorizontalFlip(), *last]), v2.Compose(last)


def make_model(name: str, classes: int, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Make a timm model with these weights, and a new head."""
    model: Any = timm.create_model(name)
    model.load_state_dict(weights)
    model.reset_classifier(classes)
    module: nn.Module = model
    return module


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Take one step; return the batch's loss."""
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def update_statistics(model: nn.Module, images: Images) -> int:
    """Recompute batch-norm statistics from some images, in whole batches; return how many images were passed."""
    few = torch.randperm(len(images))[:STATISTICS_IMAGES].tolist()
    whole = math.ceil(len(few) / STATISTICS_BATCH) * STATISTICS_BATCH
    rows = [few[i % len(few)] for i in range(whole)]  # filled up with the first ones
    update_bn(DataLoader(Subset(images, rows), STATISTICS_BATCH), model)
    return whole


def fit(
    model: nn.Module,
    initial: dict[str, torch.Tensor],
    training: Images,
    validation: Images,
    epochs: int,
    patience: int = PATIENCE,
) -> Counts:
    """Train from the initial weights; the model holds the best ones at the end."""
    model.load_state_dict(initial)
    optimizer = torch.optim.Adam(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=FACTOR, patience=PLATEAU)
    epoch = math.ceil(len(training) / BATCH)
    steps, between = epochs * epoch, max(CHECK_STEPS, epoch)
    loader = DataLoader(training, batch_sampler=WholeBatches(len(training), BATCH, steps))
    still = copy.copy(training)
    still.transform = validation.transform
    counts, best, best_loss, waited = Counts(), copy.deepcopy(initial), float("inf"), 0
    model.train()
    for step, (images, labels) in enumerate(loader, 1):
        train_step(model, optimizer, images, labels)
        counts.forward, counts.backward = counts.forward + BATCH, counts.backward + BATCH
        if step % between and step < steps:
            continue
        counts.forward += update_statistics(model, still) + len(validation)
        loss = float(functional.cross_entropy(score(model, validation), torch.tensor(validation.labels)))
        model.train()
        if loss < best_loss:
            best, best_loss, waited = copy.deepcopy(model.state_dict()), loss, 0
        else:
            waited += 1
        if waited >= patience:
            break
        schedule.step(loss)
    model.load_state_dict(best)
    return counts


def score(model: nn.Module, images: Images) -> torch.Tensor:
    """Return (n, K) logits."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch, _ in DataLoader(images, SCORING_BATCH)])

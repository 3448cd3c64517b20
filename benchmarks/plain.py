"""The study's protocol as one would write it in plain PyTorch: timm, torchvision, a DataLoader, Adam as it comes.

Nothing of labelwise is used or set here. Every pass that the protocol asks for is made: training, batch-norm statistics
from training images before a validation, early stopping on the validation loss, the best weights kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

LR, BATCH, SCORING_BATCH = 1e-3, 32, 256
STATISTICS_IMAGES, CHECK_STEPS = 512, 12


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, transformed one by one. pixels: (N, H, W, 3) uint8; labels: (N,)."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], transform: Callable[..., Any]) -> None:
        self.pixels, self.labels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[index]), self.labels[index]


@dataclass
class Counts:
    """What a fit did: images through the network, forward and backward."""

    forward: int = 0
    backward: int = 0


def transforms(model: nn.Module, size: int) -> tuple[v2.Compose, v2.Compose]:
    """Return what training and what scoring do to an image."""
    config = timm.data.resolve_data_config({}, model=model)
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(config["mean"], config["std"])]
    return v2.Compose([v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip(), *last]), v2.Compose(last)


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


def fit(
    model: nn.Module, initial: dict[str, torch.Tensor], training: Images, validation: Images, epochs: int,
    patience: int = 10,
) -> Counts:  # fmt: skip
    """Train from the initial weights; the model holds the best ones at the end."""
    model.load_state_dict(initial)
    optimizer = torch.optim.Adam(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=3)
    loader = DataLoader(training, BATCH, shuffle=True)
    still = copy.copy(training)
    still.transform = validation.transform
    counts, best, best_loss, waited, unchecked = Counts(), copy.deepcopy(initial), float("inf"), 0, 0
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in loader:
            train_step(model, optimizer, images, labels)
            unchecked += 1
        counts.forward, counts.backward = counts.forward + len(training), counts.backward + len(training)
        if unchecked < CHECK_STEPS and epoch < epochs:
            continue
        unchecked = 0
        few = Subset(still, torch.randperm(len(still))[:STATISTICS_IMAGES].tolist())
        update_bn(DataLoader(few, SCORING_BATCH), model)
        loss = float(functional.cross_entropy(score(model, validation), torch.tensor(validation.labels)))
        counts.forward += len(few) + len(validation)
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

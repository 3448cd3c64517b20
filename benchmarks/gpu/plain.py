"""Training in plain PyTorch as a good user of a GPU writes it: the images' augmentation too is tensor operations."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

PADDING, LR = 4, 1e-3


def augmented(pixels: torch.Tensor) -> torch.Tensor:
    """Crop each image at random from a black frame and flip it: (B, H, W, 3) uint8 -> (B, 3, H, W) float."""
    count, height, width = pixels.shape[:3]
    padded = functional.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1), device=pixels.device)
    rows = top + torch.arange(height, device=pixels.device)
    columns = left + torch.arange(width, device=pixels.device)
    columns = torch.where(torch.rand(count, 1, device=pixels.device) < 0.5, columns.flip(1), columns)
    each = torch.arange(count, device=pixels.device)[:, None, None]
    cut = padded[each, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2).float().div(255).sub(0.45).div(0.25)


def step(
    model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, batch: int, device: torch.device
) -> Callable[[], None]:
    """Return a training step of a copy of the model. pixels: (N, H, W, 3) uint8; both are on the device, or not."""
    model = copy.deepcopy(model).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), LR, fused=True)
    autocast = device.type == "cuda"

    def take() -> None:
        rows = torch.randint(0, len(pixels), (batch,), device=pixels.device)
        chosen, truth = pixels[rows].to(device, non_blocking=True), labels[rows].to(device, non_blocking=True)
        inputs = augmented(chosen).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            loss = functional.cross_entropy(model(inputs), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return take

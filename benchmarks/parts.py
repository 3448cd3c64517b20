"""What each difference to plain PyTorch gives: one training step on one thread, in processor time, variants in turn."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.jobs import Setup, plain_model, read
from benchmarks.plain import BATCH, LR
from labelwise.models.rewrites import rewrite_convolutions

STEPS, WARM = 8, 2
VARIANTS: dict[str, dict[str, bool]] = {
    "plain": {},
    "fused Adam": {"fused": True},
    "channels-last": {"last": True},
    "channels-last, fused Adam": {"last": True, "fused": True},
    "channels-last, fused Adam, rewritten convolutions (ours)": {"last": True, "fused": True, "rewrite": True},
    "ours in bfloat16 autocast": {"last": True, "fused": True, "rewrite": True, "narrow": True},
}


def step(model: nn.Module, images: torch.Tensor, last: bool = False, fused: bool = False, rewrite: bool = False,
         narrow: bool = False) -> Callable[[], float]:  # fmt: skip
    """Return a training step of a copy of the model, which returns its seconds of processor time."""
    model, labels = copy.deepcopy(model), torch.arange(len(images)) % 2
    if last:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if rewrite:
        model = rewrite_convolutions(model, images[:2])
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), LR, fused=fused)

    def take() -> float:
        started = time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss: Any = functional.cross_entropy(model(images).float(), labels)
        loss.backward()
        optimizer.step()
        return time.process_time() - started

    return take


def parts(setup: Setup) -> dict[str, float]:
    """Return how many times faster than plain each variant is: medians of steps taken in turn."""
    torch.set_num_threads(1)
    size = read(setup)[0].shape[1]
    model, images = plain_model(setup, 10)[0], torch.randn(BATCH, 3, size, size)
    steps = {name: step(model, images, **options) for name, options in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(WARM + STEPS):
        for name, take in steps.items():
            seconds[name].append(take())
    return {
        name: statistics.median(one / other for one, other in zip(seconds["plain"][WARM:], taken[WARM:], strict=True))
        for name, taken in seconds.items()
    }

"""Squeeze-and-excitation of packed models: sums over a map whose bits do not depend on a channel's place.

On a CPU the library sums the channels at the end of a vector in another order than the others. On a GPU it does not,
but the gradient of its mean lies in memory image by image, so that the addition that follows has to turn it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from labelwise.models.depthwise import summed


def spatial_sum(x: torch.Tensor) -> torch.Tensor:
    """Return the sums (B, C, 1, 1) over the pixels of maps (B, C, H, W)."""
    if x.device.type != "cpu":
        return x.sum((2, 3), keepdim=True)
    return summed(x.permute(2, 3, 0, 1).reshape(x.shape[2] * x.shape[3], -1)).view(*x.shape[:2], 1, 1)


class Squeeze(torch.autograd.Function):
    """The mean over a map, with a gradient that lies in memory as the map does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.size = x.shape[2:]
        return torch.div(spatial_sum(x), ctx.size.numel())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        share = torch.div(gradients[0], ctx.size.numel())
        return share.expand(*share.shape[:2], *ctx.size).contiguous(memory_format=torch.channels_last)


class Excite(torch.autograd.Function):
    """A map times one number a channel."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, gate = ctx.saved_tensors
        return gradients[0] * gate, spatial_sum(gradients[0] * x)


class PackedSqueezeExcite(nn.Module):
    """Takes the place of timm's SqueezeExcite, whose layers are packed already."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.inner = nn.Sequential(module.conv_reduce, module.act1, module.conv_expand, module.gate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = Excite.apply(x, self.inner(Squeeze.apply(x)))
        return result

"""Exact rewrites of convolutional models that run faster on a CPU: equal outputs and gradients, to float rounding.

On small images most of a network works on maps of 4x4 pixels and less, where libraries are slowest: taps that only
ever meet padding, whole convolutions that are one matrix product, batch-norms that are constants when scoring.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

CLOSE = 1e-3
"""Relative difference of outputs up to which a rewritten model counts as the same."""


@dataclass(frozen=True)
class Axis:
    """How a convolution meets one axis of its map: `first` and `last` (exclusive) tap that ever meet a pixel, and the

    padding that is left before and after.
    """

    first: int
    last: int
    before: int
    after: int


def cropped(size: int, output: int, kernel: int, stride: int, padding: int) -> Axis:
    """Leave out the taps that meet only padding. size, output: pixels along the axis; padding: before the first."""
    first = max(0, padding - (output - 1) * stride)
    last = min(kernel, padding + size)
    before = padding - first
    return Axis(first, last, before, (output - 1) * stride + last - first - size - before)


class _Rewritten(nn.Module):
    """Takes a convolution's place with its parameters under their names; made for maps of one size."""

    def __init__(self, conv: nn.Conv2d, shape: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias, self.shape = conv.weight, conv.bias, shape

    def check(self, x: torch.Tensor) -> None:
        """Raise where the input has another size than the one that this was made for."""
        if tuple(x.shape[2:]) != self.shape:
            raise ValueError(f"rewritten for maps of {self.shape}, called with {tuple(x.shape[2:])}")


class Pointwise(_Rewritten):
    """A dense convolution of which one tap is left: on channels-last data, a matrix product."""

    def __init__(self, conv: nn.Conv2d, shape: tuple[int, int], tap: tuple[int, int] = (0, 0)) -> None:
        super().__init__(conv, shape)
        self.tap = tap

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check(x)
        weight = self.weight[:, :, self.tap[0], self.tap[1]]
        return functional.linear(x.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)


class Scaled(_Rewritten):
    """A depthwise convolution of which one tap is left: a multiplication."""

    def __init__(self, conv: nn.Conv2d, shape: tuple[int, int], tap: tuple[int, int]) -> None:
        super().__init__(conv, shape)
        self.tap = tap

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check(x)
        scaled = x * self.weight[:, 0, self.tap[0], self.tap[1]].view(1, -1, 1, 1)
        return scaled if self.bias is None else scaled + self.bias.view(1, -1, 1, 1)


class Cropped(_Rewritten):
    """A convolution without the taps that only meet padding; with gradients, its input is padded by hand.

    Libraries are slow at the backward pass of a padded convolution on a tiny map. Without gradients they are faster
    than padding by hand; where one side needs more of it, the kernel gets a row or column of zeros instead.
    """

    def __init__(self, conv: nn.Conv2d, shape: tuple[int, int], rows: Axis, columns: Axis) -> None:
        super().__init__(conv, shape)
        self.rows, self.columns, self.stride, self.groups = rows, columns, conv.stride, conv.groups
        self.padding = (columns.before, columns.after, rows.before, rows.after)
        extra = (columns.after - columns.before, rows.after - rows.before)
        self.zeros = (max(0, extra[0]), 0, max(0, extra[1]), 0) if min(self.padding) >= 0 and min(extra) >= 0 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check(x)
        weight = self.weight[:, :, self.rows.first : self.rows.last, self.columns.first : self.columns.last]
        by_library: tuple[int, int] | int = 0
        if self.zeros is not None and not torch.is_grad_enabled():
            weight, by_library = functional.pad(weight, self.zeros), (self.rows.after, self.columns.after)
        elif any(self.padding):
            x = functional.pad(x, self.padding)
        # a slice of the weights as it lies in memory would take a slow path
        return functional.conv2d(x, weight.contiguous(), self.bias, self.stride, by_library, 1, self.groups)


SMALL_MAP = 4
"""Pixels of a map up to which padding by hand is faster than the library's: 3 times at 2x2, slower at 4x4."""


def rewrite_convolutions(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """Replace in place each convolution for which a faster exact form exists at the example's size; return the module.

    example: a few inputs, channels-last. Parameters, their names and the state dict stay what they are.
    """
    shapes: dict[nn.Module, set[tuple[torch.Size, torch.Size]]] = {}

    def look(conv: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        shapes.setdefault(conv, set()).add((inputs[0].shape[2:], output.shape[2:]))

    hooks = [conv.register_forward_hook(look) for conv in module.modules() if isinstance(conv, nn.Conv2d)]
    training = module.training
    module.eval()
    with torch.no_grad():
        module(example)
    module.train(training)
    for hook in hooks:
        hook.remove()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and len(shapes.get(child, ())) == 1:
                ((before, after),) = shapes[child]
                setattr(parent, name, _faster(child, (before[0], before[1]), (after[0], after[1])))
    return module


def rewritten(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return a copy with `rewrite_convolutions`, or the module itself where its outputs on the example would change."""
    copied = rewrite_convolutions(copy.deepcopy(module), example)
    return copied if same_outputs(module, copied, example) else module


def _faster(conv: nn.Conv2d, before: tuple[int, int], after: tuple[int, int]) -> nn.Module:
    """Return a faster form of a convolution that takes maps of size `before` to `after`, or the convolution itself."""
    padding = _padding(conv, before, after)
    dense, depthwise = conv.groups == 1, conv.groups == conv.in_channels == conv.out_channels
    if padding is None or not (dense or depthwise):
        return conv
    rows, columns = (
        cropped(before[i], after[i], conv.kernel_size[i], conv.stride[i], padding[i]) for i in range(2)
    )  # fmt: skip
    taps = (rows.last - rows.first, columns.last - columns.first)
    if min(taps) < 1:  # more padding than kernel: nothing but the bias comes out
        return conv
    aligned = before == after and not any((rows.before, rows.after, columns.before, columns.after))
    if taps == (1, 1) and aligned and (dense or before == (1, 1)):
        return (Pointwise if dense else Scaled)(conv, before, (rows.first, columns.first))
    asymmetric = type(conv) is not nn.Conv2d  # timm's Conv2dSame pads by hand in any case
    small = depthwise and before[0] * before[1] <= SMALL_MAP
    return Cropped(conv, before, rows, columns) if taps != conv.kernel_size or asymmetric or small else conv


def _padding(conv: nn.Conv2d, before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int] | None:
    """Return the pixels of padding above and left; None for a kind of convolution that is not known here."""
    from timm.layers import Conv2dSame

    if conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        return None
    if type(conv) is nn.Conv2d and isinstance(conv.padding, tuple):
        return conv.padding[0], conv.padding[1]
    if type(conv) is Conv2dSame:  # TensorFlow's: half of what is missing, the odd pixel at the end
        missing = [max((after[i] - 1) * conv.stride[i] + conv.kernel_size[i] - before[i], 0) for i in range(2)]
        return missing[0] // 2, missing[1] // 2
    return None


def fold_batch_norm(module: nn.Module, probe: torch.Tensor) -> nn.Module:
    """Return a copy for scoring with each batch-norm folded into the convolution before it (equal to rounding).

    probe: a few inputs on the module's device. Where the copy's output differs on them, as in a model that calls its
    layers in another order than it declares them, the module itself is returned.
    """
    folded = _fold(copy.deepcopy(module)).to(memory_format=torch.channels_last)
    return folded if same_outputs(module, folded, probe) else module


def same_outputs(one: nn.Module, other: nn.Module, probe: torch.Tensor) -> bool:
    """Return whether two models in evaluation mode give the same outputs, to rounding."""
    with torch.inference_mode():
        before, after = one(probe), other(probe)
    return torch.allclose(before, after, rtol=CLOSE, atol=CLOSE * float(before.abs().max()))


def _fold(parent: nn.Module) -> nn.Module:
    from timm.layers import BatchNormAct2d
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for (first, conv), (second, norm) in pairwise(list(parent.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(parent, first, fuse_conv_bn_eval(conv, norm))
            setattr(parent, second, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d)
                    else nn.Identity())  # fmt: skip
    for child in parent.children():
        _fold(child)
    return parent

"""Depthwise convolutions of many channels at once, for models packed along their channels.

A library's backward pass of a grouped convolution may run one kernel a group, and packed models have tens of thousands
of groups. Here all channels are one vector: by Triton kernels on a GPU, or by plain multiply-adds of shifted maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from labelwise.models.rewrites import Axis, cropped

Way = Literal["triton", "plain"]
"""How it is computed: by the kernels of models/kernels.py, or by PyTorch's own elementwise operations."""


@dataclass(frozen=True)
class Geometry:
    """Sizes (rows, columns) of a convolution's maps, kernel and stride, its padding (top, bottom, left, right), and the

    taps along each axis that ever meet a pixel.
    """

    input: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    rows: Axis
    columns: Axis

    def taps(self) -> list[tuple[int, int, int]]:
        """Return each tap that meets a pixel: its row and column among those, and its position in the kernel."""
        return [
            (row - self.rows.first, column - self.columns.first, row * self.kernel[1] + column)
            for row in range(self.rows.first, self.rows.last)
            for column in range(self.columns.first, self.columns.last)
        ]

    def margins(self) -> tuple[int, int, int, int]:
        """Return the padding that those taps need: top, bottom, left, right; below 0 where they leave pixels out."""
        return self.rows.before, self.rows.after, self.columns.before, self.columns.after


def geometry(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> Geometry:
    """Return the geometry of a convolution over maps of `size`; ValueError where no output is left."""
    if min(stride) < 1 or min(padding) < 0:
        raise ValueError(f"strides must be at least 1 and paddings at least 0, not {stride} and {padding}")
    before = (padding[0], padding[2])
    room = (size[0] + padding[0] + padding[1] - kernel[0], size[1] + padding[2] + padding[3] - kernel[1])
    if min(room) < 0 or min(size) < 1:
        raise ValueError(f"maps of {size} with padding {padding} are smaller than the kernel {kernel}")
    output = (room[0] // stride[0] + 1, room[1] // stride[1] + 1)
    rows, columns = (cropped(size[i], output[i], kernel[i], stride[i], before[i]) for i in (0, 1))
    return Geometry(size, output, kernel, stride, padding, rows, columns)


def way_for(device: torch.device) -> Way:
    """Return the faster way on a device: the kernels where there is a GPU and Triton is installed."""
    return "triton" if device.type == "cuda" and find_spec("triton") is not None else "plain"


def depthwise(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    way: Way,
) -> torch.Tensor:
    """Convolve each channel by its own kernel; differentiable once, in x and in weight.

    x: (B, C, H, W), channels-last in memory (or copied so), any float type; weight: (C, 1, kh, kw) float32; stride:
    (rows, columns); padding: zeros (top, bottom, left, right). Returns (B, C, H', W'), channels-last, in x's type. Sums
    and the weight's gradient are float32, under autocast too. "plain" also takes x and weight in float64.
    ValueError: shapes that do not fit, types that a way does not know, 2^31 elements or more for "triton".
    """
    if way not in get_args(Way):
        raise ValueError(f"no such way: {way!r}; there are {', '.join(get_args(Way))}")
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[:2] != (x.shape[1], 1) or x.shape[1] < 1:
        raise ValueError(f"x (B, C, H, W) and weight (C, 1, kh, kw) expected, not {x.shape} and {weight.shape}")
    double = x.dtype == torch.float64
    if not x.is_floating_point() or (double and way == "triton"):
        raise ValueError(f"{way!r} does not compute in {x.dtype}")
    if weight.dtype != (torch.float64 if double else torch.float32):
        raise ValueError(f"weights are float32 (float64 for maps in float64), not {weight.dtype}")
    shape = geometry((x.shape[2], x.shape[3]), (weight.shape[2], weight.shape[3]), stride, padding)
    return cast(torch.Tensor, _Depthwise.apply(x, weight, shape, way))


class _Depthwise(torch.autograd.Function):
    """Both ways share what they keep for the backward pass: the input and the taps (kernel's pixels, C)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, shape: Geometry, way: Way) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        taps = weight.flatten(1).t().contiguous()
        ctx.save_for_backward(x, taps)
        ctx.shape, ctx.way, ctx.weight = shape, way, weight.shape
        if way == "plain":
            return _forward(x, taps, shape)
        from labelwise.models import kernels

        return kernels.forward(x, taps, shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, taps = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        by_input, by_weight = _input_grad, _weight_grad
        if ctx.way == "triton":
            from labelwise.models import kernels

            by_input, by_weight = kernels.input_grad, kernels.weight_grad
        of_input = by_input(grad, taps, ctx.shape) if ctx.needs_input_grad[0] else None
        of_weight = _untapped(by_weight(x, grad, ctx.shape), ctx.weight) if ctx.needs_input_grad[1] else None
        return of_input, of_weight, None, None


def _untapped(taps: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return taps (kernel's pixels, C) as a weight (C, 1, kh, kw), a view of the same memory."""
    return taps.view(shape[2], shape[3], 1, shape[0]).permute(3, 2, 0, 1)


def _forward(x: torch.Tensor, taps: torch.Tensor, shape: Geometry) -> torch.Tensor:
    padded = _padded(x.to(_wide(x)), shape)
    total = _zeros(padded, shape.output)
    for row, column, tap in shape.taps():
        # not addcmul: whether its sum is rounded once or twice may differ between a vector and what is left at its end
        total.add_(_shifted(padded, row, column, shape) * taps[tap].view(1, -1, 1, 1))
    return total.to(x.dtype)


def _input_grad(grad: torch.Tensor, taps: torch.Tensor, shape: Geometry) -> torch.Tensor:
    if not shape.taps():
        return _zeros(grad, shape.input)
    wide, (top, bottom, left, right) = grad.to(_wide(grad)), shape.margins()
    total = _zeros(wide, (shape.input[0] + top + bottom, shape.input[1] + left + right))
    for row, column, tap in shape.taps():
        _shifted(total, row, column, shape).add_(wide * taps[tap].view(1, -1, 1, 1))
    return functional.pad(total, (-left, -right, -top, -bottom)).to(grad.dtype, memory_format=torch.channels_last)


def _weight_grad(x: torch.Tensor, grad: torch.Tensor, shape: Geometry) -> torch.Tensor:
    padded, given = _padded(x.to(_wide(x)), shape), grad.to(_wide(grad))
    out = given.new_zeros((shape.kernel[0] * shape.kernel[1], x.shape[1]))
    for row, column, tap in shape.taps():
        product = given * _shifted(padded, row, column, shape)
        out[tap] = summed(product.permute(0, 2, 3, 1).reshape(-1, x.shape[1]))
    return out


def _wide(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _zeros(like: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    shape = (*like.shape[:2], *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()


def _padded(x: torch.Tensor, shape: Geometry) -> torch.Tensor:
    """Pad maps, or crop them, to what the taps that are left read."""
    top, bottom, left, right = shape.margins()
    return functional.pad(x, (left, right, top, bottom)) if shape.taps() else x


def _shifted(padded: torch.Tensor, row: int, column: int, shape: Geometry) -> torch.Tensor:
    """Return the view (B, C, H', W') of what one tap meets."""
    (down, right), (height, width) = shape.stride, shape.output
    return padded[:, :, row : row + (height - 1) * down + 1 : down, column : column + (width - 1) * right + 1 : right]


def summed(rows: torch.Tensor) -> torch.Tensor:
    """Return the sums (C,) of (rows, C) by halves: `sum` adds the channels at a vector's end in another order."""
    while len(rows) > 1:
        half, odd = divmod(len(rows), 2)
        first = rows[:half] + rows[half : 2 * half]
        if odd:
            first[0] += rows[-1]
        rows = first
    return rows.sum(0)

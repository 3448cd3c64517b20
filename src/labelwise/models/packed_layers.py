"""Layers of K models that compute as one: their tensors have K times the channels, model by model.

An activation is (B, K * C, H, W), channels-last. Each layer has the weights of all K models as (K, *shape).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from labelwise.models.depthwise import Way, depthwise
from labelwise.models.rewrites import cropped

WIDE = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
"""Whether products of bfloat16 can be given in float32."""


class Products(torch.autograd.Function):
    """K matrix products (R, K, in) x (K, out, in) -> (R, K, out), read and written where they lie, without copies."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        weight = weight.to(rows.dtype)
        ctx.save_for_backward(rows, weight)
        output = rows.new_empty(len(rows), *weight.shape[:2])
        torch.bmm(rows.transpose(0, 1), weight.transpose(1, 2), out=output.transpose(0, 1))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        rows, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_rows = None
        if ctx.needs_input_grad[0]:
            to_rows = torch.empty_like(rows)
            torch.bmm(gradient.transpose(0, 1), weight, out=to_rows.transpose(0, 1))
        across, down = gradient.permute(1, 2, 0), rows.transpose(0, 1)
        if WIDE and gradient.is_cuda and gradient.dtype == torch.bfloat16:  # as sums are, and not rounded in between
            return to_rows, torch.bmm(across, down, out_dtype=torch.float32)
        return to_rows, torch.bmm(across, down)


class Added(torch.autograd.Function):
    """Rows (R, K, out) and biases (K, out). The bias's gradient is a product: a sum's bits can depend on the place."""

    @staticmethod
    def forward(_ctx: Any, rows: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return rows + bias.to(rows.dtype)

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = gradients[0].transpose(0, 1)
        summed = torch.bmm(rows.new_ones(len(rows), 1, rows.shape[1]), rows)
        return gradients[0], summed[:, 0].to(torch.promote_types(rows.dtype, torch.float32))


def added(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return maps (B, K * C, H, W) with biases (K, C) added."""
    maps = x.permute(0, 2, 3, 1)
    result: torch.Tensor = Added.apply(maps.reshape(-1, *bias.shape), bias)
    return result.view(maps.shape).permute(0, 3, 1, 2)


def products(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return (R, K, out) of rows (R, K, in) and weights (K, out, in), in autocast's precision where it is on."""
    kind = rows.device.type
    if torch.is_autocast_enabled(kind):
        rows = rows.to(torch.get_autocast_dtype(kind))
    result: torch.Tensor = Products.apply(rows, weight)
    return result


class Taps(torch.autograd.Function):
    """What each tap of a kernel sees: (B, H, W, C) -> (B, H', W', taps, C).

    rows, columns: (first tap, last tap exclusive, padding before, padding after); stride: of both axes; fill: padding.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, rows: tuple[int, ...], columns: tuple[int, ...], stride: tuple[int, int], fill: float
    ) -> torch.Tensor:
        padding = (0, 0, columns[2], columns[3], rows[2], rows[3])
        padded = functional.pad(x, padding, value=fill) if any(padding) else x
        ctx.windows = list(_windows(padded.shape, rows, columns, stride))
        ctx.padding, ctx.shape = padding, padded.shape
        return torch.stack([padded[:, down, right] for down, right in ctx.windows], dim=3)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        padded = gradients[0].new_zeros(ctx.shape)
        for tap, (down, right) in enumerate(ctx.windows):
            padded[:, down, right] += gradients[0][:, :, :, tap]
        return functional.pad(padded, [-size for size in ctx.padding]), None, None, None, None


def _windows(
    shape: torch.Size, rows: tuple[int, ...], columns: tuple[int, ...], stride: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Return the slices of a padded map that each tap sees, row by row."""
    tall, wide = rows[1] - rows[0], columns[1] - columns[0]
    counts = (shape[1] - tall) // stride[0] + 1, (shape[2] - wide) // stride[1] + 1
    return [
        (
            slice(row, row + (counts[0] - 1) * stride[0] + 1, stride[0]),
            slice(column, column + (counts[1] - 1) * stride[1] + 1, stride[1]),
        )
        for row in range(tall)
        for column in range(wide)
    ]


class Window:
    """The kernel, stride and padding of a convolution or a pooling. same: TensorFlow's padding, by the map's size."""

    def __init__(self, kernel: Any, stride: Any, padding: Any, same: bool = False) -> None:
        self.kernel, self.stride, self.padding = _pair(kernel), _pair(stride), _pair(padding)
        self.same = same

    def output(self, size: int, axis: int) -> int:
        """Return the pixels along an axis of the result."""
        if self.same:
            return -(-size // self.stride[axis])
        return (size + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1

    def sides(self, size: int, axis: int) -> tuple[int, int]:
        """Return the padding before and after a map along an axis (negative: what is never looked at)."""
        output, stride, kernel = self.output(size, axis), self.stride[axis], self.kernel[axis]
        whole = (output - 1) * stride + kernel - size
        before = max(whole, 0) // 2 if self.same else self.padding[axis]
        return before, whole - before

    def axis(self, size: int, axis: int) -> tuple[int, int, int, int]:
        """Return first tap, last tap (exclusive), padding before and after: without taps that only meet padding."""
        before, _ = self.sides(size, axis)
        found = cropped(size, self.output(size, axis), self.kernel[axis], self.stride[axis], before)
        return found.first, found.last, found.before, found.after


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


class PackedConv(nn.Module):
    """K convolutions as one: depthwise ones by `depthwise`, all others as products of what each tap sees.

    weight: (K, out, in / groups, kh, kw); bias: (K, out) or None.
    """

    def __init__(self, window: Window, groups: int, weight: torch.Tensor, bias: torch.Tensor | None, way: Way):
        super().__init__()
        self.window, self.groups, self.way = window, groups, way
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, out, inner = self.weight.shape[:3]
        if inner == 1 and self.groups == out and x.shape[1] == count * out:
            result = self._depthwise(x)
        else:
            result = self._products(x)
        return result if self.bias is None else added(result, self.bias)

    def _depthwise(self, x: torch.Tensor) -> torch.Tensor:
        (top, bottom), (left, right) = (self.window.sides(x.shape[2 + axis], axis) for axis in range(2))
        if min(bottom, right) < 0:  # the last rows or columns are never looked at
            x = functional.pad(x, (0, min(right, 0), 0, min(bottom, 0)))
        x = x.contiguous(memory_format=torch.channels_last)
        padding = (top, max(bottom, 0), left, max(right, 0))
        return depthwise(x, self.weight.flatten(0, 1), self.window.stride, padding, self.way)

    def _products(self, x: torch.Tensor) -> torch.Tensor:
        count, out, inner = self.weight.shape[:3]
        maps = x.permute(0, 2, 3, 1)
        rows, columns = (self.window.axis(x.shape[2 + axis], axis) for axis in range(2))
        weight = self.weight[..., rows[0] : rows[1], columns[0] : columns[1]]
        taps = weight.shape[3] * weight.shape[4]
        groups = count * self.groups
        if taps == 1 and self.window.stride == (1, 1) and not any((*rows[2:], *columns[2:])):
            seen = maps.reshape(*maps.shape[:3], groups, inner)
        else:
            seen = Taps.apply(maps, rows, columns, self.window.stride, 0.0)
            seen = seen.unflatten(-1, (groups, inner)).transpose(3, 4)
        shape = seen.shape[:3]
        kernels = weight.reshape(groups, out // self.groups, inner, taps).transpose(2, 3).flatten(2)
        result = products(seen.reshape(-1, groups, taps * inner), kernels)
        return result.view(*shape, count * out).permute(0, 3, 1, 2)


class PackedNorm(nn.Module):
    """K batch-norms as one over K * C channels. mode: `train` by the batch, `collect` it too, or `score` by statistics.

    Collecting leaves the batch's own mean and variance in the statistics; they are (K, C), as weight and bias are.
    """

    def __init__(self, eps: float, weight: Any, bias: Any, mean: torch.Tensor, variance: torch.Tensor) -> None:
        super().__init__()
        self.eps, self.mode = eps, "train"
        self.weight, self.bias, self.mean, self.variance = weight, bias, mean, variance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (None if value is None else value.reshape(-1) for value in (self.weight, self.bias))
        if self.mode == "train":
            return functional.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        mean, variance = self.mean.view(-1), self.variance.view(-1)
        return functional.batch_norm(x, mean, variance, weight, bias, self.mode == "collect", 1.0, self.eps)


class PackedLinear(nn.Module):
    """K linear layers as one: (..., K * in) -> (..., K * out)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, out, inner = self.weight.shape
        result = products(x.reshape(-1, count, inner), self.weight)
        if self.bias is not None:
            result = Added.apply(result, self.bias)
        return result.reshape(*x.shape[:-1], count * out)


class PackedLayerNorm(nn.Module):
    """K layer-norms over the C channels of each model. channels: the axis they are on, 1 (of maps) or -1."""

    def __init__(self, eps: float, weight: Any, bias: Any, count: int, channels: int) -> None:
        super().__init__()
        self.eps, self.weight, self.bias, self.count, self.channels = eps, weight, bias, count, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.movedim(self.channels, -1)
        last = last.reshape(*last.shape[:-1], self.count, -1)
        result = functional.layer_norm(
            last.to(torch.promote_types(x.dtype, torch.float32)), last.shape[-1:], eps=self.eps
        )
        if self.weight is not None:
            result = result * self.weight + (0 if self.bias is None else self.bias)
        return result.flatten(-2).to(x.dtype).movedim(-1, self.channels)


def max_pool(pool: nn.MaxPool2d) -> PackedMaxPool | None:
    """Return what stands for a max-pooling, in packs and alone; None for an unusual one."""
    if pool.dilation not in (1, (1, 1)) or pool.ceil_mode:
        return None
    return PackedMaxPool(Window(pool.kernel_size, pool.stride, pool.padding))


class PackedMaxPool(nn.Module):
    """A max-pooling whose gradient is the same in every run: the library's adds in the order of arrival."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = (self.window.axis(x.shape[2 + axis], axis) for axis in range(2))
        seen = Taps.apply(x.permute(0, 2, 3, 1), rows, columns, self.window.stride, float("-inf"))
        found: torch.Tensor = seen.max(dim=3).values
        return found.permute(0, 3, 1, 2)

"""Triton kernels for models packed along their channels: depthwise convolutions on channels-last data, and Adam.

Imported where it is used only: Triton comes with PyTorch for CUDA, and nothing else of labelwise needs it. Each channel
is summed in one order, by blocks whose shapes follow from the map and the batch alone. Its bits depend neither on where
it stands among the channels nor on their number (but that numbers that are no multiple of 16 sum in another order). A
launch needs nothing from the device, so that a CUDA graph can hold it; the first call of a shape compiles, before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from labelwise.models.depthwise import Geometry

CHANNELS = 64
"""Channels of a block: 128 bytes of bfloat16, one line of the cache; a weight's block is less than a value a thread,
which lets the compiler load it where it is needed instead of passing it on between threads."""
PARTS = 16
"""Partial sums that a block of the second stage adds at a time."""
ELEMENTS = 1024
"""Elements of Adam's block: two vectors of 16 bytes a thread."""


MAPS = ["pixels", "H", "W", "OH", "OW", "TOP", "LEFT", "Y0", "Y1", "X0", "KW"]
"""Sizes that kernels take as they come, so that maps of all sizes share one; `channels` alone tells of alignment. Rows
of taps are a loop: unrolled as the columns are, all loads come first, and kernels of 5x5 run out of registers."""


def pixels_of_block(pixels: int) -> int:
    """Return the output pixels of a block: rows that share taps on large maps, enough blocks to go round on small."""
    return 64 if pixels >= 2048 else 32


@triton.jit(do_not_specialize=MAPS)
def depthwise_forward(
    x, taps, y, pixels, channels, H, W, OH, OW, TOP, LEFT, Y0, Y1, X0, KW,
    SY: tl.constexpr, SX: tl.constexpr, NX: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Convolve: x (B, H, W, channels), taps (kernel's pixels, channels), y (pixels = B * OH * OW, channels)."""
    blocks = tl.cdiv(channels, C)
    c = tl.program_id(0) % blocks * C + tl.arange(0, C)
    p = tl.program_id(0) // blocks * P + tl.arange(0, P)
    real, inside = c < channels, p < pixels
    image, oy, ox = p // (OH * OW), p // OW % OH, p % OW
    total = tl.zeros((P, C), tl.float32)
    for ky in range(Y0, Y1):
        iy = oy * SY + (ky - TOP)
        row = inside & (iy >= 0) & (iy < H)
        for kx in tl.static_range(NX):
            ix = ox * SX + (X0 + kx - LEFT)
            met = row & (ix >= 0) & (ix < W)
            place = ((image * H + iy) * W + ix) * channels
            weight = tl.load(taps + (ky * KW + X0 + kx) * channels + c, mask=real, other=0.0)
            value = tl.load(x + place[:, None] + c[None, :], mask=met[:, None] & real[None, :], other=0.0)
            total += value.to(tl.float32) * weight[None, :]
    where = (p * channels)[:, None] + c[None, :]
    tl.store(y + where, total.to(y.dtype.element_ty), mask=inside[:, None] & real[None, :])


@triton.jit(do_not_specialize=MAPS)
def depthwise_input_grad(
    grad, taps, out, pixels, channels, H, W, OH, OW, TOP, LEFT, Y0, Y1, X0, KW,
    SY: tl.constexpr, SX: tl.constexpr, NX: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gather what grad (B, OH, OW, channels) gives to each pixel of the input: out (pixels = B * H * W, channels)."""
    blocks = tl.cdiv(channels, C)
    c = tl.program_id(0) % blocks * C + tl.arange(0, C)
    p = tl.program_id(0) // blocks * P + tl.arange(0, P)
    real, inside = c < channels, p < pixels
    image, iy, ix = p // (H * W), p // W % H, p % W
    total = tl.zeros((P, C), tl.float32)
    for ky in range(Y0, Y1):
        ty = iy + (TOP - ky)
        oy = ty // SY
        row = inside & (ty >= 0) & (ty % SY == 0) & (oy < OH)
        for kx in tl.static_range(NX):
            tx = ix + (LEFT - X0 - kx)
            ox = tx // SX
            met = row & (tx >= 0) & (tx % SX == 0) & (ox < OW)
            place = ((image * OH + oy) * OW + ox) * channels
            weight = tl.load(taps + (ky * KW + X0 + kx) * channels + c, mask=real, other=0.0)
            value = tl.load(grad + place[:, None] + c[None, :], mask=met[:, None] & real[None, :], other=0.0)
            total += value.to(tl.float32) * weight[None, :]
    where = (p * channels)[:, None] + c[None, :]
    tl.store(out + where, total.to(out.dtype.element_ty), mask=inside[:, None] & real[None, :])


@triton.jit(do_not_specialize=MAPS)
def depthwise_weight_parts(
    x, grad, parts, pixels, channels, H, W, OH, OW, TOP, LEFT, Y0, Y1, X0,
    SY: tl.constexpr, SX: tl.constexpr, NX: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Sum over each block of output pixels, for each tap that meets any: parts (blocks, taps, channels)."""
    blocks = tl.cdiv(channels, C)
    c = tl.program_id(0) % blocks * C + tl.arange(0, C)
    block = tl.program_id(0) // blocks
    p = block * P + tl.arange(0, P)
    real, inside = c < channels, p < pixels
    image, oy, ox = p // (OH * OW), p // OW % OH, p % OW
    where = (p * channels)[:, None] + c[None, :]
    given = tl.load(grad + where, mask=inside[:, None] & real[None, :], other=0.0).to(tl.float32)
    for ky in range(Y0, Y1):
        iy = oy * SY + (ky - TOP)
        row = inside & (iy >= 0) & (iy < H)
        for kx in tl.static_range(NX):
            ix = ox * SX + (X0 + kx - LEFT)
            met = row & (ix >= 0) & (ix < W)
            place = ((image * H + iy) * W + ix) * channels
            value = tl.load(x + place[:, None] + c[None, :], mask=met[:, None] & real[None, :], other=0.0)
            part = tl.sum(given * value.to(tl.float32), axis=0)
            tap = block * ((Y1 - Y0) * NX) + (ky - Y0) * NX + kx
            tl.store(parts + tap * channels + c, part, mask=real)


@triton.jit(do_not_specialize=["count", "KW", "Y0", "Y1", "X0", "X1"])  # one for all shapes
def depthwise_weight_sum(parts, out, count, channels, KW, Y0, Y1, X0, X1, N: tl.constexpr, C: tl.constexpr):
    """Add the parts in their order: out (kernel's pixels, channels); taps that meet only padding get 0."""
    blocks = tl.cdiv(channels, C)
    c = tl.program_id(0) % blocks * C + tl.arange(0, C)
    tap = tl.program_id(0) // blocks
    ky, kx = tap // KW, tap % KW
    used = (c < channels) & (ky >= Y0) & (ky < Y1) & (kx >= X0) & (kx < X1)
    row = (ky - Y0) * (X1 - X0) + kx - X0
    total = tl.zeros((N, C), tl.float32)
    for first in range(0, count, N):
        n = first + tl.arange(0, N)
        place = (n * ((Y1 - Y0) * (X1 - X0)) + row) * channels
        total += tl.load(parts + place[:, None] + c[None, :], mask=(n < count)[:, None] & used[None, :], other=0.0)
    tl.store(out + tap * channels + c, tl.sum(total, axis=0), mask=c < channels)


@triton.jit
def adam_step(
    values, grads, first, second, place, rates, count,
    BETA1: tl.constexpr, BETA2: tl.constexpr, EPS: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """Update `count` elements in one pass; each reads its model's row of `rates`."""
    i = tl.program_id(0) * N + tl.arange(0, N)
    real = i < count
    row = rates + 2 * tl.load(place + i, mask=real, other=0).to(tl.int32)
    step, scale = tl.load(row, mask=real, other=0.0), tl.load(row + 1, mask=real, other=0.0)
    value, grad = tl.load(values + i, mask=real, other=0.0), tl.load(grads + i, mask=real, other=0.0)
    mean, square = tl.load(first + i, mask=real, other=0.0), tl.load(second + i, mask=real, other=0.0)
    mean += (grad - mean) * (1 - BETA1)
    square = square * BETA2 + grad * grad * (1 - BETA2)
    value -= step * tl.div_rn(mean, tl.sqrt_rn(square) * scale + EPS)
    tl.store(first + i, mean, mask=real)
    tl.store(second + i, square, mask=real)
    tl.store(values + i, value, mask=real)


def forward(x: torch.Tensor, taps: torch.Tensor, shape: Geometry) -> torch.Tensor:
    """Convolve x (B, C, H, W), channels-last, by taps (kernel's pixels, C) float32."""
    y = _like(x, shape.output)
    _by_pixels(depthwise_forward, (x, taps, y), y, shape, 4, KW=shape.kernel[1])
    return y


def input_grad(grad: torch.Tensor, taps: torch.Tensor, shape: Geometry) -> torch.Tensor:
    """Return the gradient of the input (B, C, H, W) from that of the output."""
    out = _like(grad, shape.input)
    _by_pixels(depthwise_input_grad, (grad, taps, out), out, shape, 4, KW=shape.kernel[1])
    return out


def weight_grad(x: torch.Tensor, grad: torch.Tensor, shape: Geometry) -> torch.Tensor:
    """Return the gradient of the taps (kernel's pixels, C) float32: sums of blocks, then the sum of those."""
    channels, pixels, rows, columns = x.shape[1], grad.numel() // grad.shape[1], shape.rows, shape.columns
    taps = max(0, rows.last - rows.first) * max(0, columns.last - columns.first)
    count = triton.cdiv(pixels, pixels_of_block(pixels))
    parts = torch.empty((count, taps, channels), dtype=torch.float32, device=x.device)
    _addressable(parts)
    _by_pixels(depthwise_weight_parts, (x, grad, parts), grad, shape, 2)
    out = torch.empty((shape.kernel[0] * shape.kernel[1], channels), dtype=torch.float32, device=x.device)
    grid = (len(out) * triton.cdiv(channels, CHANNELS),)
    ends = (rows.first, rows.last, columns.first, columns.last)
    with torch.cuda.device_of(x):
        depthwise_weight_sum[grid](parts, out, count, channels, shape.kernel[1], *ends, N=PARTS, C=CHANNELS)
    return out


def adam(
    tensors: tuple[torch.Tensor, ...], place: torch.Tensor, rates: torch.Tensor, betas: tuple[float, float], eps: float
) -> None:
    """Update (values, grads, first, second), each (N,) float32, in place."""
    count = place.numel()
    with torch.cuda.device_of(place):
        adam_step[(triton.cdiv(count, ELEMENTS),)](
            *tensors, place, rates, count, BETA1=betas[0], BETA2=betas[1], EPS=eps, N=ELEMENTS
        )


def _by_pixels(
    kernel: Any, tensors: tuple[torch.Tensor, ...], over: torch.Tensor, shape: Geometry, warps: int, **sizes: int
) -> None:
    """Launch a block for each of `over`'s blocks of pixels and channels; neighbours have neighbouring channels.

    warps: for 32 pixels of a block: the less, the more each thread holds.
    """
    channels, pixels = over.shape[1], over.numel() // over.shape[1]
    block, (rows, columns) = pixels_of_block(pixels), (shape.rows, shape.columns)
    grid = (triton.cdiv(pixels, block) * triton.cdiv(channels, CHANNELS),)
    with torch.cuda.device_of(over):
        kernel[grid](
            *tensors, pixels, channels, *shape.input, *shape.output, shape.padding[0], shape.padding[2],
            rows.first, rows.last, columns.first, SY=shape.stride[0], SX=shape.stride[1],
            NX=max(0, columns.last - columns.first), P=block, C=CHANNELS, num_warps=warps * block // 32, **sizes,
        )  # fmt: skip


def _like(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return an empty channels-last tensor with maps of another size, after a check that offsets fit 32 bits."""
    out = torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    _addressable(x)
    _addressable(out)
    return out


def _addressable(x: torch.Tensor) -> None:
    if x.numel() >= 2**31:
        raise ValueError(f"{tuple(x.shape)} has 2^31 elements or more: use smaller batches")

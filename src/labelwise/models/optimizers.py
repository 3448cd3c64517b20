"""Optimizers over flat buffers that hold the parameters of several models, each with its own rate and step count.

One call updates all of them. Nothing is read back from the device, so that a call can be part of a CUDA graph: rates
and counts are tensors, which the graph's owner fills before each replay or counts up in the graph itself.
"""

from __future__ import annotations

import math
from typing import get_args

import torch

from labelwise.models.depthwise import Way

BETAS = (0.9, 0.999)
EPS = 1e-8
MOMENTUM = 0.9
PLACES = {torch.uint8: 256, torch.int16: 2**15}
"""Types of `place`, and how many models each can tell apart."""


def adam_rates(lr: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Return the rates (K, 2) float32 that `adam` reads: lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t).

    lr: (K,) float32, 0 for a model whose values are to stay; steps: (K,) of any integer type, t >= 1: this step
    counts. Computed on their device.
    """
    first, second = (-torch.expm1(steps.float() * math.log(beta)) for beta in BETAS)
    return torch.stack([lr / first, second.rsqrt()], dim=1)


def adam(
    values: torch.Tensor,
    grads: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    place: torch.Tensor,
    rates: torch.Tensor,
    way: Way,
) -> None:
    """Do one step of Adam in place, as torch.optim.Adam does without weight decay.

    values, grads, first, second (the moments, 0 before the first step): (N,) float32, contiguous; place: (N,) uint8 or
    int16, the model of each element; rates: (K, 2) float32, `adam_rates`. That places are below K is not checked, which
    would wait for the device. ValueError: other shapes or types, 2^31 elements or more.
    """
    if way not in get_args(Way):
        raise ValueError(f"no such way: {way!r}; there are {', '.join(get_args(Way))}")
    _check((values, grads, first, second), place)
    if rates.ndim != 2 or rates.shape[1] != 2:
        raise ValueError(f"rates (K, 2) expected, not {tuple(rates.shape)}")
    _check_rates(rates, place)
    with torch.no_grad():
        if way == "plain":
            _adam((values, grads, first, second), rates.index_select(0, place.int()))
        else:
            from labelwise.models import kernels

            kernels.adam((values, grads, first, second), place, rates, BETAS, EPS)


def sgd(
    values: torch.Tensor,
    grads: torch.Tensor,
    buffer: torch.Tensor,
    place: torch.Tensor,
    lr: torch.Tensor,
) -> None:
    """Do one step of gradient descent with Nesterov's momentum in place, as torch.optim.SGD does.

    values, grads, buffer (0 before the first step): (N,) float32; place as for `adam`; lr: (K,) float32. Raises as
    `adam` does.
    """
    _check((values, grads, buffer), place)
    if lr.ndim != 1:
        raise ValueError(f"lr (K,) expected, not {tuple(lr.shape)}")
    _check_rates(lr, place)
    with torch.no_grad():
        buffer.mul_(MOMENTUM).add_(grads)
        values.sub_(lr.index_select(0, place.int()).mul_(grads + MOMENTUM * buffer))


def _adam(tensors: tuple[torch.Tensor, ...], rates: torch.Tensor) -> None:
    """Update by whole-buffer operations; rates: (N, 2), each element's own."""
    values, grads, first, second = tensors
    first.add_((grads - first).mul_(1 - BETAS[0]))
    second.mul_(BETAS[1]).add_((grads * grads).mul_(1 - BETAS[1]))
    values.sub_((first / second.sqrt().mul_(rates[:, 1]).add_(EPS)).mul_(rates[:, 0]))


def _check(tensors: tuple[torch.Tensor, ...], place: torch.Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype != torch.float32 or tensor.shape != place.shape or not tensor.is_contiguous():
            raise ValueError(f"contiguous float32 {tuple(place.shape)} expected, not {tensor.dtype} {tensor.shape}")
    if place.ndim != 1 or place.dtype not in PLACES or not place.is_contiguous():
        raise ValueError(f"place (N,) in uint8 or int16 expected, not {place.dtype} {tuple(place.shape)}")
    if place.numel() >= 2**31:
        raise ValueError(f"{place.numel()} elements are too many for one call: 2^31 is out of reach")


def _check_rates(rates: torch.Tensor, place: torch.Tensor) -> None:
    if rates.dtype != torch.float32 or not rates.is_contiguous() or not 1 <= len(rates) <= PLACES[place.dtype]:
        raise ValueError(f"contiguous float32 rates of 1 to {PLACES[place.dtype]} models expected, not {rates.shape}")

"""Optimizers over flat buffers, against PyTorch's own, one of those a model; the kernel by kernels_interpreted.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from labelwise.models.depthwise import Way
from labelwise.models.optimizers import adam, adam_rates, sgd

RATES = (0.1, 0.003, 1e-4)
STARTS = (0, 3, 7)
"""Learning rates of three models, and the steps that each has done before the others begin."""
SIZES = (5, 1100, 3)
STEPS = 4


def draw(seed: int) -> list[torch.Tensor]:
    """Return one tensor for each model; some elements are tiny, where eps tells."""
    numbers = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(size, generator=numbers) for size in SIZES]
    for tensor in drawn:
        tensor[::3] *= 1e-7
    return drawn


def singly(kind: type[torch.optim.Optimizer], **options: Any) -> torch.Tensor:
    """Return the models' values after all steps, each by an optimizer of its own."""
    ends = []
    for k, value in enumerate(draw(0)):
        parameter = torch.nn.Parameter(value)
        optimizer = kind([parameter], lr=RATES[k], **options)  # type: ignore[call-arg]
        for step in range(STARTS[k] + STEPS):
            parameter.grad = draw(100 + step - STARTS[k])[k]
            optimizer.step()
        ends.append(parameter.detach())
    return torch.cat(ends)


def jointly() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield for each joint step which models have begun, and all gradients; the last steps are those of all."""
    for step in range(max(STARTS) + STEPS):
        begun = torch.tensor([step >= max(STARTS) - start for start in STARTS])
        grads = draw(100 + step - max(STARTS))
        yield begun, torch.cat([grads[k] * begun[k] for k in range(len(SIZES))])


def scattered(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an order in which models' elements lie mixed, and the model of each element in it."""
    order = torch.randperm(sum(SIZES), generator=torch.Generator().manual_seed(5))
    return order, torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))[order].to(dtype)


def adam_check(dtype: torch.dtype, way: Way) -> None:
    """Compare joint steps of models at different counts with a torch.optim.Adam for each."""
    order, place = scattered(dtype)
    values = torch.cat(draw(0))[order]
    first, second = torch.zeros_like(values), torch.zeros_like(values)
    steps = torch.zeros(len(SIZES), dtype=torch.int64)
    for begun, grads in jointly():
        steps += begun
        rates = adam_rates(torch.tensor(RATES) * begun, steps.clamp(min=1))
        adam(values, grads[order], first, second, place, rates, way)
    assert torch.allclose(values, singly(torch.optim.Adam)[order], rtol=1e-5, atol=1e-7)


def adam_places(way: Way) -> None:
    """An element's bits are the same wherever it lies, and whatever number its model has."""
    order, place = scattered(torch.uint8)
    rates = adam_rates(torch.tensor(RATES), torch.tensor([1, 20, 300]))
    fixed = [torch.cat(draw(seed)) for seed in (0, 1, 2, 3)]
    fixed[3].abs_()
    one, other = [value.clone() for value in fixed], [value[order] for value in fixed]
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    adam(*one, place[back], rates, way)
    adam(*other, 2 - place, rates.flip(0), way)
    for before, value, mixed in zip(fixed, one, other, strict=True):
        assert torch.equal(value[order], mixed)
        assert torch.equal(value, before) == (value is one[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_adam_equals_an_optimizer_for_each_model(dtype: torch.dtype) -> None:
    adam_check(dtype, "plain")


def test_adam_does_not_look_at_places() -> None:
    adam_places("plain")


def test_rates_stay_exact_at_the_first_step_and_late() -> None:
    steps = torch.tensor([1, 2, 1000, 1_000_000])
    rates = adam_rates(torch.full((4,), 0.01), steps).double()
    t = steps.double()
    assert torch.allclose(rates[:, 0], 0.01 / (1 - 0.9**t), rtol=1e-6)
    assert torch.allclose(rates[:, 1], (1 - 0.999**t) ** -0.5, rtol=1e-6)


def test_sgd_equals_an_optimizer_for_each_model() -> None:
    order, place = scattered(torch.uint8)
    values = torch.cat(draw(0))[order]
    buffer = torch.zeros_like(values)
    for _, grads in jointly():
        sgd(values, grads[order], buffer, place, torch.tensor(RATES))
    ends = singly(torch.optim.SGD, momentum=0.9, nesterov=True)
    assert torch.allclose(values, ends[order], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"way": "fast"}, "no such way"),
        ({"values": torch.zeros(4, dtype=torch.float64)}, "contiguous float32"),
        ({"grads": torch.zeros(5)}, "contiguous float32"),
        ({"second": torch.zeros(8)[::2]}, "contiguous float32"),
        ({"place": torch.zeros(4, dtype=torch.int64)}, "uint8 or int16"),
        ({"rates": torch.zeros(2, 3)}, r"rates \(K, 2\)"),
        ({"rates": torch.zeros(257, 2)}, "of 1 to 256 models"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], said: str) -> None:
    known: dict[str, Any] = {name: torch.zeros(4) for name in ("values", "grads", "first", "second")}
    known |= {"place": torch.zeros(4, dtype=torch.uint8), "rates": torch.zeros(2, 2), "way": "plain"}
    with pytest.raises(ValueError, match=said):
        adam(**(known | change))


def test_sgd_wants_one_rate_a_model() -> None:
    with pytest.raises(ValueError, match="lr"):
        sgd(*(torch.zeros(4) for _ in range(3)), torch.zeros(4, dtype=torch.uint8), torch.zeros(2, 2))

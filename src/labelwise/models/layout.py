"""The numbers of K models in flat buffers: parameter by parameter, and within each parameter model by model.

So every parameter of a pack is one contiguous tensor (K, *shape), an optimizer's step is one pass over one buffer,
and a single model's numbers, its row, are gathered and put back by one index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

STATISTICS = ("running_mean", "running_var")
"""The batch-norm buffers that are recomputed and validated with: a model's state has them beside its parameters."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of some of a model's tensors, in the order in which a row holds them."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> list[int]:
        """Numbers in each tensor."""
        return [math.prod(shape) for shape in self.shapes]

    def __len__(self) -> int:
        return sum(self.sizes)

    def row(self, state: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return one model's row (P,) of its state dict."""
        parts = [state[name].detach().reshape(-1) for name in self.names]
        return torch.cat(parts) if parts else torch.zeros(0)

    def tensors(self, row: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the tensors of a row, by name."""
        parts = torch.split(row, self.sizes)
        return {name: part.view(shape) for name, shape, part in zip(self.names, self.shapes, parts, strict=True)}


def parameters_of(model: nn.Module) -> Layout:
    """Return the layout of a model's parameters."""
    named = list(model.named_parameters())
    return Layout(tuple(name for name, _ in named), tuple(value.shape for _, value in named))


def statistics_of(model: nn.Module) -> Layout:
    """Return the layout of a model's batch-norm statistics."""
    named = [(name, value) for name, value in model.named_buffers() if name.rpartition(".")[2] in STATISTICS]
    return Layout(tuple(name for name, _ in named), tuple(value.shape for _, value in named))


class Flat:
    """K rows of a layout, on the device and of the type of `like`.

    values: (copies, K * P); place: (K * P,) uint8, the model that each number belongs to.
    """

    def __init__(self, layout: Layout, count: int, like: torch.Tensor, copies: int = 1) -> None:
        self.layout, self.count, device = layout, count, like.device
        sizes = torch.tensor(layout.sizes, dtype=torch.int64)
        starts = torch.repeat_interleave((sizes.cumsum(0) - sizes) * count, sizes)
        within = torch.arange(len(layout)) - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
        self._first = (starts + within).to(device)  # where model 0's numbers are
        self._apart = torch.repeat_interleave(sizes, sizes).to(device)  # from one model's number to the next one's
        self.values = like.new_zeros(copies, count * len(layout))
        models = torch.arange(count, dtype=torch.uint8)
        places = [models.repeat_interleave(size) for size in layout.sizes]
        self.place = torch.cat(places).to(device) if places else torch.zeros(0, dtype=torch.uint8, device=device)

    def views(self, copy: int = 0) -> dict[str, torch.Tensor]:
        """Return each tensor of all models: name -> (K, *shape), sharing memory with `values`."""
        parts = torch.split(self.values[copy], [self.count * size for size in self.layout.sizes])
        named = zip(self.layout.names, self.layout.shapes, parts, strict=True)
        return {name: part.view(self.count, *shape) for name, shape, part in named}

    def read(self, model: int) -> torch.Tensor:
        """Return a copy of one model's rows: (copies, P)."""
        return self.values.index_select(1, self._index(model))

    def write(self, model: int, rows: torch.Tensor) -> None:
        """Put rows (copies, P) into a model's place."""
        self.values.index_copy_(1, self._index(model), rows)

    def _index(self, model: int) -> torch.Tensor:
        return self._first + model * self._apart

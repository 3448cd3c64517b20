"""A model that cannot be packed, in the form of a pack of one: its own layers on numbers that lie in flat buffers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from labelwise.models.depthwise import Way
from labelwise.models.layout import STATISTICS, Flat, parameters_of, statistics_of
from labelwise.models.packed_layers import max_pool


class Unpacked(nn.Module):
    """One classifier with the interface of a `Pack` of one."""

    count = 1

    def __init__(self, single: Any, copies: int = 1, way: Way = "plain") -> None:
        super().__init__()
        like = next(single.parameters()).detach()
        self.way = way
        self.weights = Flat(parameters_of(single), 1, like, copies)
        self.statistics = Flat(statistics_of(single), 1, like)
        self.leaves = {name: view[0].detach().requires_grad_() for name, view in self.weights.views().items()}
        self.model = copy.deepcopy(single)
        for path, module in self.model.named_modules():
            prefix = f"{path}." if path else ""
            for name in [name for name, _ in module.named_parameters(recurse=False)]:
                delattr(module, name)
                setattr(module, name, self.leaves[prefix + name])
            for name, child in list(module.named_children()):
                if type(child) is nn.MaxPool2d:
                    setattr(module, name, max_pool(child) or child)
            for name in STATISTICS:
                if (view := self.statistics.views().get(prefix + name)) is not None:
                    setattr(module, name, view[0])
        self.set_mode("train")

    def forward(self, x: torch.Tensor, precision: Callable[[torch.device], Any]) -> torch.Tensor:
        """Return the logits (1, B, classes) of images (B, 3, H, W)."""
        logits: torch.Tensor = self.model.head(self.embed(x, precision))
        return logits[None]

    def embed(self, x: torch.Tensor, precision: Callable[[torch.device], Any]) -> torch.Tensor:
        """Return the embeddings (B, D) float32."""
        with precision(x.device):
            features: torch.Tensor = self.model.backbone(x)
        return features.float()

    def set_mode(self, mode: str) -> None:
        """Set what batch-norms do: train, collect the batch's own statistics, or score by them."""
        self.model.train(mode != "score")
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.num_batches_tracked = None  # nobody counts
                module.momentum = 1.0 if mode == "collect" else 0.0

"""A classifier: a backbone, and one linear layer on its embeddings."""

from __future__ import annotations

import math

import torch
from torch import nn

from labelwise.config import Learner
from labelwise.models.backbone import CREATION, Backbone, load_backbone
from labelwise.models.training import precision
from labelwise.seeds import integer


class Classifier(nn.Module):
    """A backbone and a linear layer on its embeddings, in float32 whatever the backbone's precision."""

    def __init__(self, backbone: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        with CREATION, torch.random.fork_rng(devices=[]):  # these initial weights are never used
            self.backbone, self.head = backbone, nn.Linear(features, classes)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the backbone's embeddings (n, D) float32."""
        with precision(x.device):
            features: torch.Tensor = self.backbone(x)
        return features.to(self.head.weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embed(x))
        return logits


def backbone_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Return a backbone's weights under the names that they have in a classifier, on the CPU."""
    return {f"backbone.{name}": value.cpu() for name, value in backbone.module.state_dict().items()}


def initial_state(
    pretrained: dict[str, torch.Tensor], features: int, classes: int, recipe: Learner, seed: int
) -> dict[str, torch.Tensor]:
    """Return the weights that a fit begins with: the backbone's own or (scratch) drawn by the seed, and a new head.

    pretrained: `backbone_state` of the learner's backbone; features: D, of its embeddings.
    """
    scratch = recipe.weights == "scratch"
    state = backbone_state(load_backbone(recipe, integer(seed, "scratch"))) if scratch else pretrained
    rng = torch.Generator().manual_seed(integer(seed, "head"))
    weight, bias = torch.empty(classes, features), torch.empty(classes)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=rng)  # as torch's own linear layers begin
    bound = 1 / math.sqrt(features)
    nn.init.uniform_(bias, -bound, bound, generator=rng)
    return {**state, "head.weight": weight, "head.bias": bias}

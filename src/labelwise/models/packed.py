"""Packs K models of one architecture into one that computes all of them in the kernels of a single step.

The model's own forward runs on tensors with K times the channels; only layers with parameters are replaced
(`packed_layers`). That this is right for an architecture is not assumed: each pack is checked against single models,
outputs and gradients, when it is made.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from labelwise.models.depthwise import Way
from labelwise.models.layout import Flat, parameters_of, statistics_of
from labelwise.models.packed_layers import (
    PackedConv,
    PackedLayerNorm,
    PackedLinear,
    PackedNorm,
    Window,
    max_pool,
)
from labelwise.models.packed_squeeze import PackedSqueezeExcite

EXACT = 1e-8
"""Relative difference of outputs and gradients, in float64, up to which a pack computes what a single model does."""
NEAR = 1e-2
"""The same in float32 on a GPU, of the outputs and of the median gradient: it would tell a kernel that is wrong."""


class Unpackable(Exception):  # noqa: N818
    """Says why an architecture cannot be packed."""


class WrongKernels(Unpackable):
    """The kernels of one way do not work here, or give other results than a single model."""


class Pack(nn.Module):
    """K classifiers as one. weights: their parameters, `copies` times (an optimizer's numbers); statistics: (1, ..)."""

    def __init__(self, single: Any, count: int, way: Way, copies: int = 1) -> None:
        super().__init__()
        like = next(single.parameters()).detach()
        self.count, self.way = count, way
        self.weights = Flat(parameters_of(single), count, like, copies)
        self.statistics = Flat(statistics_of(single), count, like)
        self.leaves = {name: view.requires_grad_() for name, view in _apart(self.weights.views()).items()}
        self.backbone = _packed(copy.deepcopy(single.backbone), self, "backbone.")
        for module in self.backbone.modules():
            if getattr(module, "inplace", False):
                setattr(module, "inplace", False)  # noqa: B010  with gradients, what is changed in place is copied first
        self.head = PackedLinear(self.leaves["head.weight"], self.leaves["head.bias"])

    def forward(self, x: torch.Tensor, precision: Callable[[torch.device], Any] = lambda _: nullcontext()) -> Any:
        """Return the logits (K, B, classes) of images (B, K * 3, H, W). precision: the context of the backbone."""
        features = self.embed(x, precision)
        logits: torch.Tensor = self.head(features)
        return logits.view(len(x), self.count, -1).transpose(0, 1)

    def embed(self, x: torch.Tensor, precision: Callable[[torch.device], Any]) -> torch.Tensor:
        """Return the embeddings (B, K * D) float32."""
        with precision(x.device):
            features: torch.Tensor = self.backbone(x)
        return features.to(self.head.weight.dtype)

    def set_mode(self, mode: str) -> None:
        """Set what batch-norms do: train, collect or score."""
        for module in self.modules():
            if isinstance(module, PackedNorm):
                module.mode = mode


def pack(single: Any, count: int, way: Way, example: torch.Tensor, copies: int = 1) -> Pack:
    """Pack `count` models like `single`, and check the pack on an example (B, 3, H, W).

    way: how depthwise convolutions are computed, see `depthwise`. Errors: Unpackable, with the reason.
    """
    exact = copy.deepcopy(single).to("cpu", torch.float64)
    outputs, gradients = _differences(exact, Pack(exact, 2, "plain"), example.to("cpu", torch.float64))
    if wrong := [name for name, far in {"outputs": outputs, **gradients}.items() if far > EXACT]:
        raise Unpackable(f"the pack's {wrong[0]} differ from a single model's")
    made = Pack(single, count, way, copies)
    if example.device.type != "cpu":  # other kernels
        try:
            with _full_precision():
                outputs, gradients = _differences(single, made, example, "score")
        except Unpackable as error:
            raise WrongKernels(str(error)) from None
        made.set_mode("train")
        if outputs > NEAR or not max(gradients.values()) < math.inf or _median(gradients) > NEAR:
            raise WrongKernels(f"the kernels ({way}) give other results than a single model on {example.device}")
    return made


def _apart(views: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: view.detach() for name, view in views.items()}


def _packed(module: nn.Module, made: Pack, path: str) -> nn.Module:
    """Replace a module's layers, in place; return what stands for the module itself."""
    from timm.models._efficientnet_blocks import SqueezeExcite

    if (layer := _layer(module, made, path)) is not None:
        return layer
    for name, child in list(module.named_children()):
        setattr(module, name, _packed(child, made, f"{path}{name}."))
    for name, value in list(module.named_parameters(recurse=False)):
        if value.ndim != 1:  # a scale of the channels can be packed as it is; what else it might be is not known
            raise Unpackable(f"{path}{name} is a parameter of {type(module).__name__}")
        # a leaf of its own: a view would keep its place in autograd from one step to the next
        made.leaves[path + name] = made.leaves[path + name].detach().flatten().requires_grad_()
        delattr(module, name)
        setattr(module, name, made.leaves[path + name])
    return PackedSqueezeExcite(module) if type(module) is SqueezeExcite else module


def _layer(module: nn.Module, made: Pack, path: str) -> nn.Module | None:
    """Return the packed form of a layer, or None for a module that is no layer with parameters of its own."""
    from timm.layers import BatchNormAct2d

    weight, bias = made.leaves.get(f"{path}weight"), made.leaves.get(f"{path}bias")
    if isinstance(module, nn.Conv2d):
        return PackedConv(_window(module, path), module.groups, _there(weight), bias, made.way)
    if isinstance(module, nn.Linear):
        return PackedLinear(_there(weight), bias)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        buffers = made.statistics.views()
        norm = PackedNorm(module.eps, weight, bias, *(buffers[f"{path}{name}"] for name in _tracked(module, path)))
        return nn.Sequential(norm, module.drop, module.act) if isinstance(module, BatchNormAct2d) else norm
    if isinstance(module, nn.LayerNorm):
        on_maps = type(module).__name__ == "LayerNorm2d"
        if type(module) is not nn.LayerNorm and type(module).__name__ not in ("LayerNorm", "LayerNorm2d"):
            raise Unpackable(f"{path[:-1]} is a {type(module).__name__}")
        return PackedLayerNorm(module.eps, weight, bias, made.count, 1 if on_maps else -1)
    if isinstance(module, nn.MaxPool2d):
        if (pool := max_pool(module)) is None:
            raise Unpackable(f"{path[:-1]} is an unusual pooling")
        return pool
    if draws(module):
        raise Unpackable(f"{path[:-1]} draws random numbers ({type(module).__name__})")
    return None


def _there(weight: torch.Tensor | None) -> torch.Tensor:
    assert weight is not None
    return weight


def draws(module: nn.Module) -> bool:
    """Return whether a module draws random numbers in training: dropout of any kind, with a rate above 0."""
    rates = (getattr(module, "p", 0.0), getattr(module, "drop_prob", 0.0))
    return "drop" in type(module).__name__.lower() and any(bool(rate) for rate in rates)


def _tracked(norm: nn.modules.batchnorm._BatchNorm, path: str) -> tuple[str, str]:
    if norm.running_mean is None:
        raise Unpackable(f"{path[:-1]} keeps no statistics")
    return "running_mean", "running_var"


def _window(conv: nn.Conv2d, path: str) -> Window:
    """Return the window of a convolution. Errors: Unpackable for kinds that are not known here."""
    from timm.layers import Conv2dSame

    if type(conv) not in (nn.Conv2d, Conv2dSame) or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        raise Unpackable(f"{path[:-1]} is an unusual convolution ({type(conv).__name__})")
    same = type(conv) is Conv2dSame
    if isinstance(conv.padding, str) and not same:
        raise Unpackable(f"{path[:-1]} has the padding '{conv.padding}'")
    return Window(conv.kernel_size, conv.stride, (0, 0) if same else conv.padding, same)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Compute convolutions in float32: by default cuDNN rounds their inputs to ten bits."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _differences(single: Any, made: Pack, example: torch.Tensor, mode: str = "train") -> tuple[float, dict[str, float]]:
    """Return how far a pack is from single models: of its outputs, and of each parameter's gradient.

    The pack's first and last models are compared, each with weights and images of its own. mode: what batch-norms do;
    where they score, rounding is not amplified by statistics of a few images.
    """
    rng = torch.Generator().manual_seed(0)
    names, last = made.weights.layout.names, made.count - 1
    own = {name: value.detach() for name, value in single.named_parameters()}
    states, images = [own] * made.count, [example] * made.count
    for model in (0, last):
        noise = {name: torch.randn(value.shape, generator=rng, dtype=value.dtype) for name, value in own.items()}
        states[model] = {name: value * (1 + 0.05 * noise[name].to(value.device)) for name, value in own.items()}
        images[model] = example.roll(model, 3)
    for model, state in enumerate(states):
        made.weights.write(model, made.weights.layout.row(state).expand(len(made.weights.values), -1))
        if made.statistics.layout.names:
            made.statistics.write(model, made.statistics.layout.row(dict(single.state_dict()))[None])
    made.set_mode(mode)
    try:
        logits = made(torch.cat(images, dim=1).contiguous(memory_format=torch.channels_last))
        gradients = torch.autograd.grad(_some_loss(logits), [made.leaves[name] for name in names], allow_unused=True)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # layers in an order that packing does not know raise nearly anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Unpackable(f"its layers do not work on packed channels ({reason})") from None
    outputs, far = 0.0, dict.fromkeys(names, 0.0)
    for model in (0, last):
        alone = copy.deepcopy(single).train(mode == "train")
        alone.load_state_dict({**alone.state_dict(), **states[model]})
        expected = alone.head(alone.backbone(images[model]))  # not by `alone`, which rounds to bfloat16 on a GPU
        wanted = torch.autograd.grad(_some_loss(expected[None]), list(alone.parameters()), allow_unused=True)
        outputs = max(outputs, _far(expected, logits[model], expected))
        whole = torch.cat([value.flatten() for value in wanted if value is not None])
        for name, one, other in zip(names, wanted, gradients, strict=True):
            if one is not None or other is not None:
                theirs = None if other is None else other.view(made.count, *own[name].shape)[model]
                far[name] = max(far[name], _far(one, theirs, whole))
    return outputs, far


def _some_loss(logits: torch.Tensor) -> torch.Tensor:
    labels = torch.arange(logits.shape[1], device=logits.device) % logits.shape[2]
    return functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="sum")


def _far(one: torch.Tensor | None, other: torch.Tensor | None, whole: torch.Tensor) -> float:
    """Return the relative difference; of what is tiny beside `whole` (a bias before a norm) relative to that."""
    if one is None or other is None or one.shape != other.shape:
        return math.inf
    found = (one.detach() - other.detach()).norm() / torch.maximum(one.norm(), 1e-3 * whole.norm()).detach()
    return float(found) if bool(found.isfinite()) else math.inf


def _median(gradients: dict[str, float]) -> float:
    return sorted(gradients.values())[len(gradients) // 2]

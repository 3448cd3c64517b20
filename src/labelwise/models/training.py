"""One fine-tuning fit of a model alone: it follows its course step by step, and keeps the best weights.

Batch-norm statistics are recomputed from training images before each validation: after four steps an epoch the
running averages belong to weights long gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from labelwise.config import Learner
from labelwise.models.augment import Scale, crop_and_flip, pad
from labelwise.models.backbone import torch_threads
from labelwise.models.course import STATISTICS_BATCH, VALIDATION_BATCH, Course
from labelwise.seeds import integer


@dataclass(frozen=True)
class Part:
    """Images to train or validate on. pixels: (n, H, W, 3) uint8; labels: (n,) int64; both on the model's device."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass
class Trained:
    """What a fit did. state: the best weights, a copy; losses: (steps so far, validation loss) of each validation.

    epochs: passes over the training part; steps; images_forward and images_backward: passes through the network.
    """

    state: dict[str, torch.Tensor]
    losses: list[tuple[int, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    epochs: int = 0
    steps: int = 0
    images_forward: int = 0
    images_backward: int = 0
    stopped: str = ""

    @classmethod
    def of(cls, course: Course, state: dict[str, torch.Tensor], checked: int) -> Trained:
        """Return what a course that has ended did. checked: images through the network in its validations."""
        trained = course.steps * course.recipe.batch
        return cls(
            state,
            losses=course.losses,
            best_loss=course.best_loss,
            best_epoch=course.best_epoch,
            epochs=course.epochs,
            steps=course.steps,
            images_forward=trained + checked,
            images_backward=trained,
            stopped=course.stopped,
        )


def autocasts(device: torch.device) -> bool:
    """Return whether backbones compute in bfloat16 on this device: on a GPU that multiplies it natively."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a backbone is called on this device."""
    return torch.autocast(device.type, torch.bfloat16) if autocasts(device) else nullcontext()


@contextmanager
def own_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Compute in one thread, with torch's global generators (dropout draws from them) seeded and put back after it."""
    gpu = device.type == "cuda"
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True) if gpu else nullcontext()
    with torch_threads(1), torch.random.fork_rng(devices=[device] if gpu else []), exact:
        torch.manual_seed(integer(seed, "dropout"))
        yield


def train(
    model: nn.Module, scale: Scale, fitting: Part, validation: Part, balance: torch.Tensor, course: Course
) -> Trained:
    """Fine-tune `model` in place on `fitting`; the weights with the lowest loss on `validation` are returned.

    balance: (K,) weight of each class in both losses; course: not begun.
    """
    optimizer = _optimizer(model, course.recipe)
    state, padded, checked = _copy(model), pad(fitting.pixels), 0
    while not course.stopped:
        for group in optimizer.param_groups:
            group["lr"] = course.rate
        model.train()
        for step in course.segment():
            labels = fitting.labels[torch.from_numpy(step.rows).to(fitting.labels.device)]
            optimizer.zero_grad()
            logits = model(scale(crop_and_flip(padded, step)))
            functional.cross_entropy(logits, labels, balance).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        few = course.sample()
        if recompute_statistics(model, scale, fitting.pixels, few):
            checked += len(few)
        if course.validated(_loss(model, scale, validation, balance)):
            state = _copy(model)
        checked += len(validation.labels)
    return Trained.of(course, state, checked)


def _loss(model: nn.Module, scale: Scale, validation: Part, balance: torch.Tensor) -> float:
    """Return the validation loss, with the batch-norm statistics as they are."""
    model.eval()
    total = weight = 0.0
    with torch.inference_mode():
        for start in range(0, len(validation.labels), VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            labels = validation.labels[part]
            losses = functional.cross_entropy(model(scale(validation.pixels[part])), labels, balance, reduction="none")
            total, weight = total + float(losses.sum()), weight + float(balance[labels].sum())
    return total / weight


def recompute_statistics(model: nn.Module, scale: Scale, pixels: torch.Tensor, rows: NDArray[np.int64]) -> bool:
    """Set every batch-norm's running statistics to the mean over batches of these rows; return whether there is any.

    pixels: (n, H, W, 3); rows: whole batches of STATISTICS_BATCH.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain mean over batches
    model.train()
    with torch.no_grad():
        for part in torch.from_numpy(rows).to(pixels.device).view(-1, STATISTICS_BATCH):
            model(scale(pixels[part]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return True


def _optimizer(model: nn.Module, recipe: Learner) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.Adam(parameters, recipe.lr, fused=True)


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the weights, not references to them."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

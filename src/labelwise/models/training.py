"""One fine-tuning fit: epochs, learning-rate schedule, early stopping, and the best weights.

Two things make it sound with a few hundred labels (study, section on the learner). Batch-norm statistics are
recomputed from training images before each validation: after four steps an epoch the running averages belong to
weights long gone. And patience counts
validations, which are at least a dozen steps apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
from labelwise.seeds import integer

STATISTICS_IMAGES = 512
"""Training images from which batch-norm statistics are recomputed before a validation."""
VALIDATION_BATCH = 256
"""Images at once in a validation, and in recomputing statistics for it."""
FACTOR, PLATEAU = 0.3, 3
"""The plateau schedule: the learning rate times FACTOR after PLATEAU checks without a lower validation loss."""
CHECK_STEPS = 12
"""Steps from one validation to the next, at least: with 127 images, three epochs of four steps."""


@dataclass(frozen=True)
class Part:
    """Images to train or validate on. pixels: (n, H, W, 3) uint8; labels: (n,) int64; both on the model's device."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass
class Trained:
    """What a fit did. state: the best weights, a copy; losses: (epoch, validation loss) of each check.

    epochs: passes over the training part; steps; images_forward and images_backward: passes through the network.
    """

    state: dict[str, torch.Tensor]
    losses: list[tuple[int, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    epochs: int = 0
    steps: int = 0
    images_forward: int = 0
    images_backward: int = 0
    stopped: str = "epochs"


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
    model: nn.Module, scale: Scale, fitting: Part, validation: Part, balance: torch.Tensor, recipe: Learner,
    rng: np.random.Generator,
) -> Trained:  # fmt: skip
    """Fine-tune `model` in place on `fitting`; the weights with the lowest loss on `validation` are returned.

    balance: (K,) weight of each class in both losses; rng: draws batches and augmentation.
    """
    optimizer = _optimizer(model, recipe)
    schedule = _schedule(optimizer, recipe)
    done = Trained(_copy(model))
    rows = np.arange(max(2, len(fitting.labels))) % len(fitting.labels)  # one image alone has no batch statistics
    padded, count = pad(fitting.pixels), len(rows)
    waited = unchecked = 0
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        for chosen in _batches(rows[rng.permutation(count)], recipe.batch):
            labels = fitting.labels[torch.from_numpy(chosen).to(fitting.labels.device)]
            optimizer.zero_grad()
            logits = model(scale(crop_and_flip(padded, chosen, rng)))
            functional.cross_entropy(logits, labels, balance).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done.steps, unchecked = done.steps + 1, unchecked + 1
        done.epochs = epoch
        done.images_forward += count
        done.images_backward += count
        if unchecked < CHECK_STEPS and epoch < recipe.epochs:
            continue
        unchecked = 0
        loss = _validate(model, scale, fitting, validation, balance, done, rng)
        done.losses.append((epoch, loss))
        if not math.isfinite(loss):
            done.stopped = "diverged"
            break
        if loss < done.best_loss:
            done.best_loss, done.best_epoch, waited = loss, epoch, 0
            done.state = _copy(model)
        else:
            waited += 1
        if waited >= recipe.patience:
            done.stopped = "early"
            break
        schedule(epoch, loss)
    return done


def _validate(
    model: nn.Module, scale: Scale, fitting: Part, validation: Part, balance: torch.Tensor, done: Trained,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """Return the validation loss, with batch-norm statistics of the weights as they are now."""
    count = len(fitting.labels)
    few = torch.from_numpy(np.sort(rng.choice(count, min(count, STATISTICS_IMAGES), replace=False)))
    if recompute_statistics(model, scale, fitting.pixels[few.to(fitting.pixels.device)]):
        done.images_forward += len(few)
    model.eval()
    total = weight = 0.0
    with torch.inference_mode():
        for start in range(0, len(validation.labels), VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            labels = validation.labels[part]
            losses = functional.cross_entropy(model(scale(validation.pixels[part])), labels, balance, reduction="none")
            total, weight = total + float(losses.sum()), weight + float(balance[labels].sum())
    done.images_forward += len(validation.labels)
    return total / weight


def recompute_statistics(model: nn.Module, scale: Scale, pixels: torch.Tensor) -> bool:
    """Set every batch-norm's running statistics to the mean over these images; return whether there is any."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms or len(pixels) < 2:
        return False
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain mean over batches
    model.train()
    with torch.no_grad():
        for part in _batches(np.arange(len(pixels)), VALIDATION_BATCH):
            model(scale(pixels[part[0] : part[-1] + 1]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return True


def _batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut an order into batches as equal as can be, of at most `size`, but none of one image: it has no statistics."""
    yield from np.array_split(order, max(1, min(math.ceil(len(order) / size), len(order) // 2)))


def _optimizer(model: nn.Module, recipe: Learner) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.Adam(parameters, recipe.lr, fused=True)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Learner) -> Callable[[int, float], None]:
    """Return what sets the learning rate, called with the epoch and the validation loss after each validation."""
    if recipe.schedule == "plateau":
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=FACTOR, patience=PLATEAU)
        return lambda _epoch, loss: plateau.step(loss)

    def cosine(epoch: int, _loss: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))

    return cosine if recipe.schedule == "cosine" else lambda _epoch, _loss: None


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the weights, not references to them."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

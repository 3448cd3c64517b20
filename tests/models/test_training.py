"""One fit: the best weights, statistics that belong to them, early stopping, schedules, and fits that fail."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from labelwise.config import Learner
from labelwise.models.augment import Scale
from labelwise.models.course import STATISTICS_BATCH, Course
from labelwise.models.training import Part, Trained, recompute_statistics, train

K = 3
SCALE = Scale(torch.full((3,), 1 / 64), torch.full((3,), -2.0))


def recipe(**changes: Any) -> Learner:
    return Learner(**{"backbone": "test_resnet", "weights": "scratch", "device": "cpu", "lr": 1e-2, **changes})


def model(seed: int = 0) -> nn.Sequential:
    """A network of two layers with a batch-norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, K),
        )  # fmt: skip


def part(n: int, seed: int = 0, noise: int = 60, labels: np.ndarray | None = None) -> Part:
    """Images of one colour a class under noise; the labels, if given, have nothing to do with them."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % K
    pixels = 80 + 80 * np.eye(K)[truth][:, None, None] + rng.integers(-noise, noise + 1, (n, 8, 8, 3))
    return Part(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)),
                torch.from_numpy(truth if labels is None else labels))  # fmt: skip


def run(module: nn.Module, fitting: Part, held: Part, balance: torch.Tensor | None = None, **changes: Any) -> Trained:
    weights = torch.ones(K) if balance is None else balance
    course = Course(len(fitting.labels), recipe(**changes), np.random.default_rng(1))
    return train(module, SCALE, fitting, held, weights, course)


def loss_of(module: nn.Module, held: Part, balance: torch.Tensor | None = None) -> float:
    module.eval()
    with torch.inference_mode():
        return float(functional.cross_entropy(module(SCALE(held.pixels)), held.labels, balance))


def test_the_state_is_a_copy_of_the_best_weights() -> None:
    module, held = model(), part(30, 1, labels=np.random.default_rng(2).integers(0, K, 30))
    done = run(module, part(60), held, epochs=40)
    assert 0 < done.best_epoch < done.epochs  # what is learned does not hold there
    assert done.best_loss == min(loss for _, loss in done.losses)
    best = next(steps for steps, loss in done.losses if loss == done.best_loss)
    assert done.best_epoch == math.ceil(best / 2)
    kept = copy.deepcopy(done.state)
    with torch.no_grad():
        for value in module.state_dict().values():
            value.zero_()
    assert all(torch.equal(value, done.state[name]) for name, value in kept.items())
    module.load_state_dict(done.state)
    assert loss_of(module, held) == pytest.approx(done.best_loss, rel=1e-4)


def test_equal_arguments_give_equal_bits_whatever_came_before() -> None:
    first = run(model(), part(40), part(20, 1), epochs=12)
    run(model(3), part(50, 5), part(20, 1), epochs=5)
    second = run(model(), part(40), part(20, 1), epochs=12)
    assert all(torch.equal(value, second.state[name]) for name, value in first.state.items())
    assert first.losses == second.losses


def test_costs_are_what_was_computed() -> None:
    done = run(model(), part(60), part(20, 1), epochs=12, patience=100)
    checks = len(done.losses)
    assert (done.epochs, done.steps, checks) == (12, 24, 2)
    assert done.images_backward == 24 * 32
    assert done.images_forward == 24 * 32 + checks * (STATISTICS_BATCH + 20)


def test_statistics_are_the_mean_over_the_batches() -> None:
    module, pixels = model(), part(48).pixels
    module[1].momentum = 0.01
    module[1].running_mean.fill_(7)
    rows = np.random.default_rng(0).integers(0, 48, 3 * STATISTICS_BATCH)
    assert recompute_statistics(module, SCALE, pixels, rows)
    with torch.no_grad():
        maps = [module[0](SCALE(pixels[part_])) for part_ in np.split(rows, 3)]
    mean = torch.stack([one.mean(dim=(0, 2, 3)) for one in maps]).mean(0)
    variance = torch.stack([one.var(dim=(0, 2, 3)) for one in maps]).mean(0)
    assert torch.allclose(module[1].running_mean, mean, atol=1e-5)
    assert torch.allclose(module[1].running_var, variance, atol=1e-5)
    assert module[1].momentum == 0.01


def test_models_without_batch_norm_need_no_statistics() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, K))
    assert not recompute_statistics(module, SCALE, part(20).pixels, np.arange(STATISTICS_BATCH) % 20)
    done = run(module, part(60), part(20, 1), epochs=12, patience=100, lr=1e-3)
    assert done.images_forward == 24 * 32 + len(done.losses) * 20


def test_a_fit_that_diverges_says_so_and_keeps_finite_weights() -> None:
    class Explodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(K))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3)) * torch.exp(self.factor**6)

    done = run(Explodes(), part(60, labels=np.zeros(60, np.int64)), part(20, 1), lr=9.0, epochs=50)
    assert done.stopped == "diverged"
    assert not math.isfinite(done.losses[-1][1])
    assert all(value.isfinite().all() for value in done.state.values())


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_recipe_learns(schedule: str, optimizer: str) -> None:
    done = run(model(), part(60), part(30, 1), epochs=40, schedule=schedule, optimizer=optimizer, patience=100)
    assert done.best_loss < 0.6


@pytest.mark.parametrize("count", [1, 2, 3, 33, 65])
def test_any_number_of_images_can_be_trained_on(count: int) -> None:
    for batch in (2, 32):
        deep = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, K))  # maps of one pixel
        done = run(deep, part(count), part(2, 1), epochs=2, batch=batch)
        assert done.epochs == 2
        assert all(value.isfinite().all() for value in done.state.values())


def test_class_weights_enter_both_losses() -> None:
    fitting, held = part(60, labels=np.arange(60) % 2), part(30, 1, labels=np.arange(30) % 2)  # beyond what colour says
    balance = torch.tensor([9.0, 1.0, 1.0])
    module = model()
    weighted = run(module, fitting, held, balance, epochs=12)
    module.load_state_dict(weighted.state)
    assert loss_of(module, held, balance) == pytest.approx(weighted.best_loss, rel=1e-4)
    favoured = functional.softmax(module(SCALE(held.pixels)), 1)[:, 0].mean()
    module.load_state_dict(run(model(), fitting, held, epochs=12).state)
    assert favoured > functional.softmax(module.eval()(SCALE(held.pixels)), 1)[:, 0].mean() + 0.2
